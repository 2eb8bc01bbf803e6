//! cuBLASLt against naive loops: transposes, types, batches, orders; and its refusals.
mod client;
mod product;

use chainrule_softgpu::control;
use client::{allocate, download, finish, good, in_own_process, start, status, stream, upload};
use cudarc::cublaslt::sys::cublasStatus_t;
use cudarc::driver::sys;
use product::{BF16, F16, F32, F64, Matrix, Product, assert_close};

const SIZES: [(usize, usize, usize); 3] = [(1, 1, 1), (5, 7, 3), (9, 4, 130)];

#[test]
fn products_of_all_transposes_types_and_batches() {
    in_own_process("products_of_all_transposes_types_and_batches", || {
        start();
        for (element, result) in [(F32, F32), (F64, F64), (BF16, BF16), (BF16, F32), (F16, F16), (F16, F32)] {
            for transposes in [(false, false), (false, true), (true, false), (true, true)] {
                for (size, batch) in SIZES.into_iter().zip([3, 1, 2]) {
                    for (alpha, beta) in [(1.0, 0.0), (-0.5, 2.0)] {
                        let product = Product { alpha, beta, ..Product::new(element, result, size, transposes, batch) };
                        let what = format!("{element} {result} {transposes:?} {size:?} {alpha} {beta}");
                        for (number, got) in product.run().expect(&what).iter().enumerate() {
                            assert_close(got, &product.expected(number), result, &what);
                        }
                    }
                }
            }
        }
        assert_eq!(control::take_findings().unwrap(), [""; 0]);
        assert!(control::counters().unwrap().matmuls > 100);
    });
}

#[test]
fn row_major_operands() {
    in_own_process("row_major_operands", || {
        start();
        for orders in 0..16 {
            let row_major = |operand: u32| orders >> operand & 1 == 1;
            for transposes in [(false, true), (true, false)] {
                let mut product = Product { beta: 1.5, ..Product::new(F32, F32, (5, 7, 3), transposes, 2) };
                for (operand, matrix) in [&mut product.a, &mut product.b, &mut product.c, &mut product.d].into_iter().enumerate() {
                    *matrix = Matrix::new(F32, matrix.rows, matrix.columns, row_major(operand as u32), 2, operand);
                }
                let results = product.run().unwrap();
                assert_close(&results[1], &product.expected(1), F32, &format!("orders {orders:04b}"));
            }
        }
    });
}

#[test]
fn rounded_arithmetic_shows() {
    in_own_process("rounded_arithmetic_shows", || {
        start();
        let value = 0.7_f32;
        for (compute, rounded) in [
            (68, value),
            (77, f32::from_bits((value.to_bits() + 0x1000) & !0x1fff)),
            (74, half::f16::from_f32(value).to_f32()),
            (75, half::bf16::from_f32(value).to_f32()),
        ] {
            let mut product = Product { compute, ..Product::new(F32, F32, (2, 2, 1), (false, false), 1) };
            product.a.values.fill(value.into());
            product.b.values.fill(1.0);
            assert_eq!(product.run().unwrap()[0], [f64::from(rounded); 4], "compute type {compute}");
        }
    });
}

#[test]
fn the_result_may_lie_on_c_and_on_nothing_else() {
    in_own_process("the_result_may_lie_on_c_and_on_nothing_else", || {
        start();
        let stream = stream();
        let mut product = Product { beta: 1.0, ..Product::new(F32, F32, (4, 4, 4), (false, false), 1) };
        product.d = product.c.clone();
        let (a, b, c) = (product.a.upload(), product.b.upload(), product.c.upload());
        product.launch([a, b, c, c], stream).unwrap();
        finish(stream);
        assert_close(&product.d.download(c, 0), &product.expected(0), F32, "in place");
        product.launch([a, b, c, a], stream).unwrap();
        assert_ne!(status!(sys::cuStreamSynchronize(stream)), client::SUCCESS);
        assert!(control::take_findings().unwrap()[0].contains("D overlaps A"));
    });
}

#[test]
fn unwritten_and_foreign_operands_are_found() {
    in_own_process("unwritten_and_foreign_operands_are_found", || {
        start();
        let product = Product::new(F32, F32, (4, 4, 4), (false, false), 1);
        let (a, b, d) = (product.a.upload(), product.b.upload(), allocate(4 * 64));
        let short = upload(&[0_f32; 16]);
        for (addresses, finding) in
            [([a, short, d, d], "out of bounds"), ([allocate(4 * 64), b, d, d], "uninitialised"), ([a, b, short, short], "out of bounds")]
        {
            let stream = stream();
            product.launch(addresses, stream).unwrap();
            assert_ne!(status!(sys::cuStreamSynchronize(stream)), client::SUCCESS);
            let findings = control::take_findings().unwrap();
            assert!(findings[0].contains(finding), "{findings:?}");
            control::reset().unwrap();
        }
    });
}

#[test]
fn impossible_products_are_refused() {
    in_own_process("impossible_products_are_refused", || {
        start();
        let plain = || Product::new(F32, F32, (4, 5, 6), (false, false), 1);
        let refusal = |change: fn(&mut Product)| {
            let mut product = plain();
            change(&mut product);
            product.run().err()
        };
        let (invalid, unsupported) = (Some(cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE), Some(cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED));
        assert_eq!(refusal(|_| ()), None);
        assert_eq!(refusal(|product| product.a.columns += 1), invalid);
        assert_eq!(refusal(|product| product.c.rows += 1), invalid);
        assert_eq!(refusal(|product| product.b.leading = 2), invalid);
        assert_eq!(refusal(|product| product.d.batch = 2), invalid);
        assert_eq!(refusal(|product| product.epilogue = 3), invalid);
        assert_eq!(refusal(|product| product.epilogue = 4), invalid, "a bias without pointer");
        assert_eq!(refusal(|product| product.workspace = 16), invalid, "less workspace than the algorithm needs");
        assert_eq!(refusal(|product| product.compute = 70), unsupported);
        assert_eq!(refusal(|product| product.compute = 64), unsupported);
        assert_eq!(refusal(|product| product.b.element = F16), unsupported);
        let product = plain();
        let a = allocate(1024);
        assert_eq!(product.launch([a + 4, product.b.upload(), a + 512, a + 512], stream()).err(), invalid, "less aligned than promised");
    });
}

#[test]
fn products_wait_in_their_stream() {
    in_own_process("products_wait_in_their_stream", || {
        start();
        let stream = stream();
        let mut product = Product::new(F32, F32, (1, 1, 1), (false, false), 1);
        product.b.values.fill(3.0);
        let (a, d) = (upload(&[0_f32; 8]), allocate(32));
        good!(sys::cuMemsetD32Async(a, 2_f32.to_bits(), 1, stream));
        product.launch([a, product.b.upload(), d, d], stream).unwrap();
        assert!(control::read(d, 4).is_err());
        finish(stream);
        assert_eq!(download::<f32>(d, 1), [6.0]);
    });
}

#[test]
fn the_workspace_holds_nothing_of_use_afterwards() {
    in_own_process("the_workspace_holds_nothing_of_use_afterwards", || {
        start();
        let (product, stream, d) = (Product::new(F32, F32, (4, 4, 4), (false, false), 1), stream(), allocate(256));
        let workspace = product.launch([product.a.upload(), product.b.upload(), d, d], stream).unwrap();
        finish(stream);
        assert!(control::read(workspace, 16).unwrap_err().to_string().contains("uninitialised"));
    });
}

#[test]
fn the_speed_is_enough_for_training_tests() {
    in_own_process("the_speed_is_enough_for_training_tests", || {
        start();
        let size = 256;
        let mut product = Product::new(F32, F32, (size, size, size), (false, true), 1);
        for matrix in [&mut product.a, &mut product.b, &mut product.c, &mut product.d] {
            matrix.leading = size;
        }
        let ones = upload(&vec![1_f32; size * size]);
        let (d, stream) = (allocate(4 * size * size), stream());
        let began = std::time::Instant::now();
        product.launch([ones, ones, d, d], stream).unwrap();
        finish(stream);
        println!("{:.2} GFLOP/s", 2e-9 * (size * size * size) as f64 / began.elapsed().as_secs_f64());
        assert_eq!(download::<f32>(d, size * size), vec![size as f32; size * size]);
    });
}
