//! Thread-instructions a second of the tiled matrix product: `cargo run -p chainrule-ptx --example throughput [SIZE]`.
use std::time::Instant;

use chainrule_ptx::{Launch, Memory};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size: u32 = std::env::args().nth(1).map_or(Ok(256), |size| size.parse())?;
    let module = chainrule_ptx::parse(include_str!("../tests/kernels/matmul.ptx"))?;
    let kernel = module.kernel("matmul").ok_or("the kernel")?;
    let mut memory = Memory::new();
    let bytes = (size * size * 4) as usize;
    let mut parameters = Vec::new();
    for _ in 0..3 {
        let address = memory.allocate(bytes).ok_or("memory")?;
        memory.fill(address, 1f32.to_bits(), 4, bytes / 4)?;
        parameters.extend(address.to_le_bytes());
    }
    parameters.extend([size; 3].iter().flat_map(|size| size.to_le_bytes()));
    for seed in [0, 1] {
        let mut launch = Launch::new(&kernel, [size.div_ceil(16), size.div_ceil(16), 1], [16, 16, 1], &parameters);
        launch.seed = seed;
        let start = Instant::now();
        let statistics = chainrule_ptx::run(&launch, &mut memory)?;
        let seconds = start.elapsed().as_secs_f64();
        let millions = statistics.instructions as f64 / 1e6;
        println!("seed {seed}: {millions:.0} million thread-instructions in {seconds:.3} s: {:.0} million a second", millions / seconds);
    }
    Ok(())
}
