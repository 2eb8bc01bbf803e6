//! Which of ten sentences says nearly the same: MiniLM's vectors, compared by their cosines.
//!
//!     cargo run --release --features tokenizers --example sentence_embedding -- ["A sentence of yours."]
//!
//! Reads `minilm/config.json`, `minilm/model_f16.safetensors` and `minilm/tokenizer.json` of the folder that `CHAINRULE_DATA` names, else of `../shared/data`; they are sentence-transformers/all-MiniLM-L6-v2 of Hugging Face.

use chainrule::models::{BertConfig, SentenceEncoder, Tokenizer};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

const SENTENCES: [&str; 10] = [
    "A man is eating food.",
    "A woman plays the violin on a stage.",
    "The cat sleeps on the warm windowsill.",
    "Two children are building a castle of sand.",
    "Stock prices fell sharply after the announcement.",
    "The train to Vienna leaves at nine in the evening.",
    "He forgot his umbrella and got wet in the rain.",
    "Scientists found water ice below the surface of Mars.",
    "Our team won the match in the last minute.",
    "Mix flour, eggs and milk, and let the dough rest.",
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::var_os("CHAINRULE_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from).join("minilm");
    if !folder.exists() {
        return Err(
            format!("{} is not there; put sentence-transformers/all-MiniLM-L6-v2 there, or name another folder by CHAINRULE_DATA", folder.display()).into()
        );
    }
    let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json"))?.truncated(256)?;
    let encoder = SentenceEncoder::open(&BertConfig::from_file(folder.join("config.json"))?, folder.join("model_f16.safetensors"))?;

    let clock = Instant::now();
    let known = encoder.embed(&tokenizer.batch(&SENTENCES)?)?;
    println!("{} sentences as vectors of {} numbers in {:.1} ms\n", SENTENCES.len(), known.dims()[1], clock.elapsed().as_secs_f64() * 1e3);

    let given: Vec<String> = std::env::args().skip(1).collect();
    let asked = if given.is_empty() {
        ["Someone has a meal.", "A musician performs.", "The weather was bad.", "When does the railway depart?"].map(str::to_string).to_vec()
    } else {
        given
    };
    // Rows are questions, columns the sentences.
    let cosines = encoder.embed(&tokenizer.batch(&asked)?)?.matmul(&known.transpose(0, 1)?)?;
    let nearest = cosines.argmax(-1, false)?.to_vec::<i64>()?;
    for ((question, nearest), row) in asked.iter().zip(nearest).zip(cosines.to_vec::<f32>()?.chunks(SENTENCES.len())) {
        let nearest = nearest as usize;
        println!("{question}\n    {:.3}  {}", row[nearest], SENTENCES[nearest]);
    }
    Ok(())
}
