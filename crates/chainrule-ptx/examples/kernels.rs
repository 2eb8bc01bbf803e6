//! Reads PTX files and lists their kernels: `cargo run -p chainrule-ptx --example kernels FILE…`.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let module = chainrule_ptx::parse(&std::fs::read_to_string(&path)?).map_err(|error| format!("{path}: {error}"))?;
        for kernel in module.kernels() {
            println!(
                "{path}: {}, parameters {} bytes, shared {}, local {}",
                kernel.name(),
                kernel.parameter_bytes(),
                kernel.shared_bytes(),
                kernel.local_bytes()
            );
        }
    }
    Ok(())
}
