use super::*;

fn kind<T: std::fmt::Debug>(result: Result<T, Fault>) -> FaultKind {
    result.unwrap_err().kind
}

#[test]
fn bounds_and_freed() {
    let mut memory = Memory::new();
    let (a, b) = (memory.allocate(100).unwrap(), memory.allocate(10).unwrap());
    assert!(a % 512 == 0 && b % 512 == 0 && b - a > 4096);
    assert_eq!(kind(memory.write(a + 98, &[0; 3])), FaultKind::OutOfBounds);
    assert_eq!(kind(memory.write(a - 1, &[0])), FaultKind::OutOfBounds);
    assert_eq!(kind(memory.write(0, &[0])), FaultKind::OutOfBounds);
    assert_eq!(kind(memory.free(a + 4)), FaultKind::OutOfBounds);
    assert_eq!(memory.live(), 110);
    memory.free(a).unwrap();
    assert_eq!(memory.live(), 10);
    assert_eq!(kind(memory.write(a, &[0])), FaultKind::Freed);
    assert_eq!(kind(memory.free(a)), FaultKind::Freed);
    assert_eq!(kind(memory.write(a + 100, &[0])), FaultKind::OutOfBounds);
    assert!(memory.allocate(100).unwrap() > b, "addresses are not handed out twice");
}

#[test]
fn marks_travel_with_copies() {
    let mut memory = Memory::new();
    let (a, b) = (memory.allocate(8).unwrap(), memory.allocate(8).unwrap());
    let mut eight = [0; 8];
    memory.fill(b, 7, 1, 8).unwrap();
    memory.write(a + 2, &[1, 2, 3]).unwrap();
    memory.copy(b, a, 8).unwrap();
    assert_eq!(kind(memory.read(b, &mut eight)), FaultKind::Uninitialised);
    memory.read(b + 2, &mut eight[..3]).unwrap();
    assert_eq!(eight[..3], [1, 2, 3]);
    memory.fill(a, 0x0102_0304, 4, 2).unwrap();
    memory.read(a, &mut eight).unwrap();
    assert_eq!(eight, [4, 3, 2, 1, 4, 3, 2, 1]);
    memory.retire(a + 4, 2).unwrap();
    assert_eq!(memory.read(a, &mut eight).unwrap_err().address, Some(a + 4));
    assert_eq!(kind(memory.copy(a, a + 4, 4 + 1)), FaultKind::OutOfBounds);
}

#[test]
fn capacity() {
    let mut memory = Memory::new();
    memory.set_capacity(100);
    let a = memory.allocate(60).unwrap();
    assert_eq!(memory.allocate(41), None);
    memory.free(a).unwrap();
    assert!(memory.allocate(100).is_some() && memory.allocate(0).is_none());
}
