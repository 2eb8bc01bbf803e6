//! What adapters cost beside their base: by the counters of the memory of arrays, which are those of the process, so that all of it is one test.

use chainrule_autograd::{DType, Rng, Tensor};
use chainrule_core::memory::statistics;
use chainrule_finetune::{Adapted, Lora, Result};
use chainrule_nn::{Layer, Linear, Sequential, count};

const WIDTH: usize = 256;
const LAYERS: usize = 6;

#[test]
fn a_hundred_adapters_cost_their_own_memory_and_switching_none() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let mut base = Sequential::new();
    for _ in 0..LAYERS {
        base = base.add(Linear::new(WIDTH, WIDTH, rng)?);
    }
    let at_rest = statistics().live;
    let mut model = Adapted::new(base);
    // Freezing and names hold no arrays.
    assert_eq!(statistics().live, at_rest);
    let names: Vec<String> = (0..100).map(|i| format!("adapter {i}")).collect();
    for name in &names {
        model.add(name, Lora::rank(4), rng)?;
    }
    let own = 4 * count(&model).trainable * names.len();
    assert_eq!((statistics().live - at_rest, own), (own, 4 * 2 * 4 * WIDTH * LAYERS * 100));

    let (live, asked) = (statistics().live, statistics().system_allocations);
    for name in &names {
        model.activate(name)?;
    }
    let clone = model.clone();
    let views = names.iter().map(|name| model.view(name)).collect::<Result<Vec<_>>>()?;
    assert_eq!((statistics().live, statistics().system_allocations), (live, asked));
    drop((clone, views));

    model.activate_mixed(&names.iter().map(|name| (name.as_str(), 0.01)).collect::<Vec<_>>())?;
    assert_eq!(statistics().live, live);
    // Merging holds the weights of one model more, until it is taken back.
    let x = Tensor::ones(&[2, WIDTH], DType::F32)?;
    model.activate("adapter 7")?;
    model.merge(|model| model.forward(&x))?;
    assert_eq!(statistics().live - live - 4 * x.count(), 4 * WIDTH * WIDTH * LAYERS);
    model.unmerge();
    for name in &names {
        model.remove(name)?;
    }
    assert_eq!(statistics().live - 4 * x.count(), at_rest);
    Ok(())
}
