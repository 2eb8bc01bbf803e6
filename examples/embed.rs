//! A model inside a program: one thread goes on training while others serve a snapshot, without a lock around the model.
//!
//!     cargo run --release --example embed
//!
//! A model is a value: cloning it shares the numbers, and the trainer's next step copies what a snapshot still holds.

use chainrule::data::{Loader, Mnist};
use chainrule::nn::{Flatten, Layer, Linear, Relu, Sequential};
use chainrule::optim::Adam;
use chainrule::train::accuracy;
use chainrule::{Rng, Tape};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut rng = Rng::seeded(1);
    let mut model = Sequential::new().add(Flatten::new()).add(Linear::new(784, 64, &mut rng)?).add(Relu).add(Linear::new(64, 10, &mut rng)?);
    let digits = Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/mnist"))?;
    let (train, test) = (Loader::new(digits.train, 64)?, Loader::new(digits.test, 1000)?);
    let question = test.in_order().next().ok_or("no test images")??;

    // The newest snapshot: locked only for the moment of exchanging it.
    let published = Mutex::new(Arc::new(model.clone()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<(), Failure> {
        let server = scope.spawn(|| -> Result<usize, Failure> {
            let mut answers = 0;
            while !done.load(Ordering::Acquire) {
                let snapshot = published.lock().map_err(|_| "the trainer panicked")?.clone();
                // Off the tape: inference, on a value that nobody changes.
                let right = accuracy(&snapshot.forward(&question.images)?, &question.labels)?;
                if answers % 200 == 0 {
                    println!("served {answers} times; the snapshot is right on {:.1} %", 100.0 * right);
                }
                answers += 1;
            }
            Ok(answers)
        });

        let training = (|| -> Result<(), Failure> {
            let mut adam = Adam::new(1e-3);
            for (step, batch) in train.epoch(&mut rng).enumerate() {
                let batch = batch?;
                let tape = Tape::training(&mut rng);
                let loss = model.forward(&tape.input(&batch.images))?.cross_entropy(&batch.labels)?;
                adam.step(&mut model, &loss.backward()?)?;
                if step % 100 == 0 {
                    *published.lock().map_err(|_| "the server panicked")? = Arc::new(model.clone());
                }
            }
            Ok(())
        })();
        done.store(true, Ordering::Release);
        let answers = server.join().map_err(|_| "the server panicked")??;
        training?;
        println!("served {answers} answers during one epoch");
        Ok(())
    })?;
    println!("trained: right on {:.1} %", 100.0 * accuracy(&model.forward(&question.images)?, &question.labels)?);
    Ok(())
}
