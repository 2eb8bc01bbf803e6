//! What the process took from the system.

/// The most memory the process ever held in RAM, in bytes, where the system tells (Linux: `VmHWM`).
/// ```
/// if let Some(bytes) = chainrule_train::peak_memory() {
///     assert!(bytes > 100_000);
/// }
/// ```
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
