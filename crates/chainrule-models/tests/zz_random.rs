#![allow(missing_docs)]
use chainrule_autograd::DType;
use chainrule_models::read::Checkpoint;
#[test]
fn random() {
    let mut tensors = 0;
    for i in 0..300 {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(format!("/tmp/rand/{i}.json")).unwrap()).unwrap();
        let mut c = Checkpoint::open(format!("/tmp/rand/{i}.pth")).unwrap_or_else(|e| panic!("{i} {e}"));
        assert_eq!(c.entries().count(), json.as_array().unwrap().len(), "{i}");
        for t in json.as_array().unwrap() {
            let a = c.read(t[0].as_str().unwrap()).unwrap();
            let dims: Vec<usize> = t[1].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect();
            let nums: Vec<f64> = t[2].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
            assert_eq!(a.dims(), dims);
            assert_eq!(a.cast(DType::F64).unwrap().to_vec::<f64>().unwrap(), nums, "{i} {}", t[0]);
            tensors += 1;
        }
    }
    eprintln!("{tensors} tensors");
}
#[test]
fn campaign() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files");
    let mut s = 88172645463325252u64;
    let mut r = move |n: usize| {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s % n as u64) as usize
    };
    let n: usize = std::env::var("N").map_or(300, |n| n.parse().unwrap());
    let mut ok = 0;
    let mut all = 0;
    for e in std::fs::read_dir(dir).unwrap() {
        let bytes = std::fs::read(e.unwrap().path()).unwrap();
        let f = format!("/dev/shm/campaign-{}", std::process::id());
        for _ in 0..n {
            let mut b = bytes.clone();
            for _ in 0..1 + r(4) {
                match r(4) {
                    0 => {
                        let at = r(b.len());
                        b[at] = r(256) as u8
                    }
                    1 => {
                        let at = r(b.len());
                        b[at] ^= 1 << r(8)
                    }
                    2 => {
                        let (x, y) = (r(b.len()), r(b.len()));
                        let k = 1 + r(16);
                        for i in 0..k {
                            if x + i < b.len() && y + i < b.len() {
                                b[x + i] = b[y + i]
                            }
                        }
                    }
                    _ => {
                        let at = r(b.len());
                        let v = [0xff, 0x7f, 0x80, 0][r(4)];
                        for i in 0..[1, 2, 4, 8][r(4)] {
                            if at + i < b.len() {
                                b[at + i] = v
                            }
                        }
                    }
                }
            }
            std::fs::write(&f, &b).unwrap();
            all += 1;
            if let Ok(mut c) = Checkpoint::open(&f) {
                if c.state_dict().is_ok() {
                    ok += 1
                }
            }
        }
    }
    let hwm = std::fs::read_to_string("/proc/self/status").unwrap();
    eprintln!("{ok} of {all} read; {}", hwm.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
