//! Laws of the loader, each with and without a thread that makes batches ahead.

use chainrule_autograd::Rng;
use chainrule_data::{Dataset, Error, Loader, Result};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A batch is its indices and a random number; made batches are counted.
#[derive(Clone, Default)]
struct Indices {
    len: usize,
    made: Arc<AtomicUsize>,
    /// Batches that begin with this index are an error, those with the next one a panic.
    bad: Option<usize>,
}

impl Indices {
    fn new(len: usize) -> Indices {
        Indices { len, ..Indices::default() }
    }
}

type Batch = (Vec<usize>, u64);

impl Dataset for Indices {
    type Batch = Batch;
    fn len(&self) -> usize {
        self.len
    }
    fn batch(&self, indices: &[usize], rng: &mut Rng) -> Result<Batch> {
        self.made.fetch_add(1, SeqCst);
        if self.bad == Some(indices[0]) {
            return Err(Error::other("bad sample"));
        }
        if self.bad.map(|bad| bad + 1) == Some(indices[0]) {
            panic!("worse sample {}", indices[0]);
        }
        // How much a batch draws must not matter to the next.
        let drawn = (0..=indices[0] % 3).map(|_| rng.next_u64()).last().unwrap();
        Ok((indices.to_vec(), drawn))
    }
}

const PREFETCH: [usize; 5] = [0, 1, 2, 7, usize::MAX];

fn batches(loader: &Loader<Indices>, rng: &mut Rng) -> Vec<Batch> {
    loader.epoch(rng).map(|batch| batch.unwrap()).collect()
}

fn order(batches: &[Batch]) -> Vec<usize> {
    batches.iter().flat_map(|(indices, _)| indices.clone()).collect()
}

#[test]
fn every_index_comes_once_an_epoch() {
    for len in [0, 1, 2, 9, 10, 11, 1000] {
        for batch_size in [1, 3, 10, 2000, usize::MAX] {
            for prefetch in PREFETCH {
                let loader = Loader::new(Indices::new(len), batch_size).unwrap().prefetch(prefetch);
                let all = batches(&loader, &mut Rng::seeded(3));
                assert_eq!((all.len(), loader.is_empty()), (loader.len(), len == 0));
                assert!(all.iter().rev().skip(1).all(|(indices, _)| indices.len() == batch_size));
                let mut indices = order(&all);
                indices.sort();
                assert!(indices.into_iter().eq(0..len), "{len} {batch_size} {prefetch}");
            }
        }
    }
}

#[test]
fn a_seed_fixes_order_and_random_numbers_ahead_or_not() {
    let run = |seed, prefetch| {
        let loader = Loader::new(Indices::new(103), 10).unwrap().prefetch(prefetch);
        let mut rng = Rng::seeded(seed);
        [batches(&loader, &mut rng), batches(&loader, &mut rng)]
    };
    let expected = run(11, 0);
    for prefetch in PREFETCH {
        assert_eq!(run(11, prefetch), expected, "{prefetch}");
    }
    assert_ne!(order(&expected[0]), order(&expected[1]));
    assert_ne!(order(&run(12, 0)[0]), order(&expected[0]));
    let mut drawn: Vec<u64> = expected.iter().flatten().map(|(_, drawn)| *drawn).collect();
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), 22);
}

#[test]
fn an_epoch_takes_one_split_whatever_happens() {
    let mut expected = Rng::seeded(5);
    expected.split();
    for (len, shuffle, prefetch, taken) in [(0, true, 0, 0), (50, true, 0, 3), (50, true, 2, 0), (50, false, 0, 9), (50, true, 3, 50)] {
        let mut rng = Rng::seeded(5);
        let loader = Loader::new(Indices::new(len), 4).unwrap().shuffle(shuffle).prefetch(prefetch);
        loader.epoch(&mut rng).take(taken).for_each(drop);
        assert_eq!(rng, expected, "{len} {shuffle} {prefetch} {taken}");
    }
}

#[test]
fn drop_last_leaves_out_only_a_smaller_batch() {
    for prefetch in PREFETCH {
        for (len, count) in [(30, 3), (39, 3), (9, 0), (0, 0)] {
            let loader = Loader::new(Indices::new(len), 10).unwrap().drop_last(true).prefetch(prefetch);
            let all = batches(&loader, &mut Rng::seeded(0));
            assert_eq!((all.len(), loader.len()), (count, count));
            assert!(all.iter().all(|(indices, _)| indices.len() == 10));
        }
    }
}

#[test]
fn in_order_is_whole_and_always_the_same() {
    for prefetch in PREFETCH {
        let loader = Loader::new(Indices::new(25), 10).unwrap().drop_last(true).prefetch(prefetch);
        let all: Vec<Batch> = loader.in_order().map(|batch| batch.unwrap()).collect();
        assert_eq!((all.len(), order(&all)), (3, (0..25).collect()));
        assert_eq!(loader.in_order().map(|batch| batch.unwrap()).collect::<Vec<_>>(), all);
        let unshuffled = loader.shuffle(false);
        assert_eq!(order(&batches(&unshuffled, &mut Rng::seeded(1))), (0..20).collect::<Vec<_>>());
    }
}

#[test]
fn the_number_of_batches_left_is_exact() {
    for prefetch in PREFETCH {
        let mut epoch = Loader::new(Indices::new(25), 10).unwrap().prefetch(prefetch).epoch(&mut Rng::seeded(0));
        for left in (0..3).rev() {
            assert_eq!(epoch.len(), left + 1);
            assert!(epoch.next().is_some());
            assert_eq!((epoch.len(), epoch.size_hint()), (left, (left, Some(left))));
        }
        assert!(epoch.next().is_none() && epoch.next().is_none());
    }
}

#[test]
fn errors_and_panics_are_items_and_the_rest_follows() {
    for prefetch in PREFETCH {
        let data = Indices { bad: Some(2), ..Indices::new(8) };
        let all: Vec<Result<Batch>> = Loader::new(data, 1).unwrap().prefetch(prefetch).shuffle(false).epoch(&mut Rng::seeded(0)).collect();
        assert_eq!(all.len(), 8);
        for (i, item) in all.iter().enumerate() {
            match (i, item) {
                (2, Err(error)) => assert_eq!(error.to_string(), "bad sample"),
                (3, Err(error)) => assert!(matches!(error, Error::Panic { message } if message == "worse sample 3"), "{error}"),
                (_, Ok((indices, _))) => assert_eq!(indices, &[i]),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn no_more_is_made_ahead_than_asked_for() {
    for prefetch in [1, 2, 5] {
        let data = Indices::new(100);
        let made = data.made.clone();
        let mut epoch = Loader::new(data, 1).unwrap().prefetch(prefetch).epoch(&mut Rng::seeded(0));
        for taken in 0..4 {
            let wanted = taken + prefetch;
            let mut waits = 0;
            while made.load(SeqCst) < wanted && waits < 5000 {
                std::thread::sleep(Duration::from_millis(1));
                waits += 1;
            }
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(made.load(SeqCst), wanted);
            epoch.next().unwrap().unwrap();
        }
    }
}

#[test]
fn nothing_is_made_before_it_is_asked_for_without_prefetch() {
    let data = Indices::new(100);
    let made = data.made.clone();
    let mut epoch = Loader::new(data, 1).unwrap().epoch(&mut Rng::seeded(0));
    assert_eq!(made.load(SeqCst), 0);
    epoch.next();
    assert_eq!(made.load(SeqCst), 1);
}

#[test]
fn dropped_early_the_thread_is_gone_and_the_data_free() {
    for prefetch in PREFETCH {
        for taken in [0, 1, 5, 20] {
            let data = Indices::new(20);
            let made = data.made.clone();
            let loader = Loader::new(data, 1).unwrap().prefetch(prefetch);
            let mut epoch = loader.epoch(&mut Rng::seeded(0));
            epoch.by_ref().take(taken).for_each(drop);
            drop(loader);
            drop(epoch);
            // The thread held a handle on the data set; this is the last one.
            assert_eq!(Arc::strong_count(&made), 1, "{prefetch} {taken}");
        }
    }
}

#[test]
fn an_epoch_outlives_its_loader_and_moves_to_another_thread() {
    let epoch = Loader::new(Indices::new(20), 3).unwrap().prefetch(2).epoch(&mut Rng::seeded(0));
    let mut indices = std::thread::spawn(move || order(&epoch.map(|batch| batch.unwrap()).collect::<Vec<_>>())).join().unwrap();
    indices.sort();
    assert!(indices.into_iter().eq(0..20));
}

#[test]
fn a_batch_size_of_0_is_refused() {
    assert!(Loader::new(Indices::new(3), 0).unwrap_err().to_string().contains("batch size is 0"));
}

/// A batch says on which thread it was made.
struct Threads(Mutex<Vec<std::thread::ThreadId>>);

impl Dataset for Threads {
    type Batch = std::thread::ThreadId;
    fn len(&self) -> usize {
        6
    }
    fn batch(&self, _: &[usize], _: &mut Rng) -> Result<std::thread::ThreadId> {
        let id = std::thread::current().id();
        self.0.lock().unwrap().push(id);
        Ok(id)
    }
}

#[test]
fn ahead_means_one_thread_of_the_epochs_own() {
    let here = std::thread::current().id();
    for (prefetch, elsewhere) in [(0, false), (2, true)] {
        let loader = Loader::new(Threads(Mutex::default()), 1).unwrap().prefetch(prefetch);
        let threads: Vec<_> = loader.epoch(&mut Rng::seeded(0)).map(|id| id.unwrap()).collect();
        assert!(threads.iter().all(|id| (*id != here) == elsewhere && *id == threads[0]));
        assert_eq!(*loader.data().0.lock().unwrap(), threads);
    }
}
