//! Recorded steps: what was launched once, launched again as one graph.

use super::driver::During;
use super::lane::{self, Lane};
use super::{Gpu, driver};
use crate::error::{Error, Result};
use crate::memory::Pool;
use cudarc::driver::{result, sys};

/// Everything that was launched while it was captured, to be launched as one.
///
/// It keeps the addresses that it was captured with: arrays made before must be alive and where they were, arrays made inside stand in memory of the graph's own.
pub struct Graph {
    gpu: &'static Gpu,
    executable: sys::CUgraphExec,
    nodes: usize,
    pool: &'static Pool,
}

// SAFETY: the driver lets any thread use the handle.
unsafe impl Send for Graph {}
// SAFETY: as above; a launch needs the only handle.
unsafe impl Sync for Graph {}

/// Runs `f` so that what it asks of the GPU is recorded and not done. Other threads are not recorded.
///
/// `key` is the address in the GPU's memory at which dropout will find the key of its random streams at each replay.
///
/// # Errors
/// What `f` returns; a wait or a copy from the CPU inside; a driver that cannot capture.
pub fn capture<T, E: From<Error>>(gpu: &'static Gpu, key: Option<u64>, f: impl FnOnce() -> Result<T, E>) -> Result<(Graph, T), E> {
    const OP: &str = "capture";
    gpu.enter()?;
    // Holds the pool, and gives it back where no graph comes of this.
    let own = OwnPool(gpu, gpu.own_pool());
    let stream = Recording(result::stream::create(result::stream::StreamKind::NonBlocking).during(OP)?);
    // SAFETY: the stream is alive and its own; memory may be asked for while it records.
    unsafe { result::stream::begin_capture(stream.0, sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_RELAXED) }.during(OP)?;
    let returned = lane::on(Lane { ordinal: gpu.ordinal(), pool: own.1, recording: Some(stream.0), key }, f);
    // SAFETY: the stream records.
    let graph = unsafe { result::stream::end_capture(stream.0) }.during(OP);
    let (value, graph) = match (returned, graph) {
        (Ok(value), graph) => (value, graph?),
        (Err(error), graph) => {
            if let Ok(graph) = graph
                && !graph.is_null()
            {
                // SAFETY: nobody else has it.
                let _ = unsafe { result::graph::destroy(graph) };
            }
            return Err(error);
        }
    };
    if graph.is_null() {
        return Err(Error::device(OP, "nothing was launched").into());
    }
    let mut nodes = 0;
    // SAFETY: the graph is alive; a null list asks for the number alone.
    let counted = unsafe { sys::cuGraphGetNodes(graph, std::ptr::null_mut(), &mut nodes) }.result().during(OP);
    // SAFETY: the graph is alive until it is destroyed, which the executable survives.
    let executable = unsafe {
        let executable = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)).during(OP);
        result::graph::destroy(graph).during(OP)?;
        executable?
    };
    let pool = own.keep();
    counted?;
    Ok((Graph { gpu, executable, nodes, pool }, value))
}

struct OwnPool(&'static Gpu, &'static Pool);

impl OwnPool {
    fn keep(self) -> &'static Pool {
        let pool = self.1;
        std::mem::forget(self);
        pool
    }
}

impl Drop for OwnPool {
    fn drop(&mut self) {
        self.0.return_pool(self.1);
    }
}

struct Recording(sys::CUstream);

impl Drop for Recording {
    fn drop(&mut self) {
        let mut status = sys::CUstreamCaptureStatus_enum::CU_STREAM_CAPTURE_STATUS_NONE;
        // SAFETY: the stream is alive. It still records where `f` has panicked.
        unsafe {
            if sys::cuStreamIsCapturing(self.0, &mut status).result().is_ok() && status != sys::CUstreamCaptureStatus_enum::CU_STREAM_CAPTURE_STATUS_NONE {
                let _ = result::stream::end_capture(self.0);
            }
        }
        // SAFETY: created above and used by nobody else; an error here is one of earlier work.
        let _ = unsafe { result::stream::destroy(self.0) };
    }
}

impl Graph {
    /// Launches everything again, behind what was asked before.
    ///
    /// # Errors
    /// A GPU that failed.
    pub fn launch(&mut self) -> Result<()> {
        self.gpu.enter()?;
        self.gpu.expect_not_capturing("launch", "a graph cannot be launched inside another")?;
        // SAFETY: the executable is alive; what it touches is memory of the GPU, and mirrors, which are never freed.
        unsafe { result::graph::launch(self.executable, self.gpu.main_stream()) }.map_err(|error| Error::device("launch", driver::text(error)))?;
        self.gpu.count_graph_launch();
        Ok(())
    }

    /// How many launches, copies and fills it holds.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// What its arrays hold of the GPU's memory, in bytes.
    pub fn memory(&self) -> usize {
        let figures = self.pool.statistics();
        figures.live + figures.cached
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.gpu.enter().is_ok() {
            // Its memory may go only when its last launch is over.
            let _ = self.gpu.drain();
            // SAFETY: this is the only holder.
            let _ = unsafe { result::graph::exec_destroy(self.executable) };
        }
        self.gpu.return_pool(self.pool);
    }
}
