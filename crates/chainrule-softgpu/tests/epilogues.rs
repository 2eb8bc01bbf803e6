//! cuBLASLt's epilogues against naive loops.
mod client;
mod product;

use chainrule_softgpu::control;
use client::{allocate, download, in_own_process, start, status, upload};
use product::{BF16, F32, F64, Product, assert_close, decode, encode, upload_vector, values, width};

const SIZE: (usize, usize, usize) = (10, 6, 5);
const TYPES: [u32; 3] = [F32, F64, BF16];

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

fn slope(x: f64) -> f64 {
    (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5
}

/// Row and column of each element of a result, row by row.
fn places(product: &Product) -> Vec<(usize, usize)> {
    let columns = product.d.columns;
    (0..product.d.rows * columns).map(|index| (index / columns, index % columns)).collect()
}

#[test]
fn bias_and_activations() {
    in_own_process("bias_and_activations", || {
        start();
        for element in TYPES {
            for epilogue in [1, 2, 4, 6, 32, 36] {
                let bias = values(SIZE.0, 9);
                let product = Product { epilogue, bias: upload_vector(element, &bias), beta: 0.5, ..Product::new(element, element, SIZE, (true, false), 1) };
                let with_bias =
                    product.expected(0).into_iter().zip(places(&product)).map(|(value, (row, _))| value + if epilogue & 4 != 0 { bias[row] } else { 0.0 });
                let activated = with_bias.map(|value| {
                    if epilogue & 2 != 0 {
                        value.max(0.0)
                    } else if epilogue & 32 != 0 {
                        gelu(value)
                    } else {
                        value
                    }
                });
                assert_close(&product.run().unwrap()[0], &activated.collect::<Vec<_>>(), element, &format!("epilogue {epilogue}"));
            }
        }
        assert_eq!(control::take_findings().unwrap(), [""; 0]);
    });
}

#[test]
fn relu_saves_a_mask_that_its_backward_twin_reads() {
    in_own_process("relu_saves_a_mask_that_its_backward_twin_reads", || {
        start();
        for epilogue in [130, 134] {
            let bias = values(SIZE.0, 5);
            let mask = allocate(16 * SIZE.1);
            let forward = Product {
                epilogue,
                bias: upload_vector(F32, &bias),
                auxiliary: mask,
                auxiliary_leading: 128,
                ..Product::new(F32, F32, SIZE, (false, false), 1)
            };
            let result = &forward.run().unwrap()[0];
            let kept: Vec<bool> = result.iter().map(|value| *value > 0.0).collect();
            assert!(kept.contains(&true) && kept.contains(&false));
            for ((row, column), kept) in places(&forward).into_iter().zip(&kept) {
                let byte = download::<u8>(mask + (column * 16 + row / 8) as u64, 1)[0];
                assert_eq!(byte >> (row % 8) & 1 == 1, *kept);
            }
            for backward in [136, 152] {
                let gradient = allocate(4 * SIZE.0);
                let product =
                    Product { epilogue: backward, bias: gradient, auxiliary: mask, auxiliary_leading: 128, ..Product::new(F32, F32, SIZE, (false, true), 1) };
                let expected: Vec<f64> = product.expected(0).into_iter().zip(&kept).map(|(value, kept)| if *kept { value } else { 0.0 }).collect();
                assert_close(&product.run().unwrap()[0], &expected, F32, "DRELU");
                if backward == 152 {
                    let sums: Vec<f64> = expected.chunks(SIZE.1).map(|row| row.iter().sum()).collect();
                    assert_close(&decode(F32, &download(gradient, 4 * SIZE.0)), &sums, F32, "bias gradient of DRELU");
                }
            }
        }
    });
}

#[test]
fn gelu_saves_its_input_that_its_backward_twin_reads() {
    in_own_process("gelu_saves_its_input_that_its_backward_twin_reads", || {
        start();
        let leading = 16;
        for epilogue in [160, 164] {
            let bias = values(SIZE.0, 5);
            let saved = allocate(4 * leading * SIZE.1);
            let forward = Product {
                epilogue,
                bias: upload_vector(F32, &bias),
                auxiliary: saved,
                auxiliary_leading: leading,
                ..Product::new(F32, F32, SIZE, (false, false), 1)
            };
            let result = &forward.run().unwrap()[0];
            let inputs = forward.expected(0).into_iter().zip(places(&forward)).map(|(value, (row, _))| value + if epilogue & 4 != 0 { bias[row] } else { 0.0 });
            let inputs: Vec<f64> = inputs.collect();
            assert_close(result, &inputs.iter().map(|input| gelu(*input)).collect::<Vec<_>>(), F32, "GELU");
            let read = places(&forward).into_iter().map(|(row, column)| decode(F32, &download(saved + 4 * (column * leading + row) as u64, 4))[0]);
            assert_close(&read.collect::<Vec<_>>(), &inputs, F32, "input of GELU");
            for backward in [192, 208] {
                let gradient = allocate(4 * SIZE.0);
                let product = Product {
                    epilogue: backward,
                    bias: gradient,
                    auxiliary: saved,
                    auxiliary_leading: leading,
                    ..Product::new(F32, F32, SIZE, (true, false), 1)
                };
                let expected: Vec<f64> = product.expected(0).into_iter().zip(&inputs).map(|(value, input)| value * slope(*input)).collect();
                assert_close(&product.run().unwrap()[0], &expected, F32, "DGELU");
                if backward == 208 {
                    let sums: Vec<f64> = expected.chunks(SIZE.1).map(|row| row.iter().sum()).collect();
                    assert_close(&decode(F32, &download(gradient, 4 * SIZE.0)), &sums, F32, "bias gradient of DGELU");
                }
            }
        }
    });
}

#[test]
fn bias_gradients_of_the_operands() {
    in_own_process("bias_gradients_of_the_operands", || {
        start();
        for element in TYPES {
            for (epilogue, length) in [(256, SIZE.0), (512, SIZE.1)] {
                for transposes in [(false, false), (true, true)] {
                    let gradient = allocate(width(element) * length);
                    let product = Product { epilogue, bias: gradient, ..Product::new(element, element, SIZE, transposes, 1) };
                    assert_close(&product.run().unwrap()[0], &product.expected(0), element, "product beside a bias gradient");
                    let of_a = |row| (0..SIZE.2).map(|inner| product.a.get(0, row, inner, product.transpose_a)).sum::<f64>();
                    let of_b = |column| (0..SIZE.2).map(|inner| product.b.get(0, inner, column, product.transpose_b)).sum::<f64>();
                    let sums: Vec<f64> = (0..length).map(|index| if epilogue == 256 { of_a(index) } else { of_b(index) }).collect();
                    assert_close(&decode(element, &download(gradient, width(element) * length)), &sums, element, &format!("epilogue {epilogue}"));
                }
            }
        }
    });
}

#[test]
fn batches_have_their_own_bias_and_auxiliary_matrix() {
    in_own_process("batches_have_their_own_bias_and_auxiliary_matrix", || {
        start();
        let (stride, leading) = (SIZE.0 + 2, 16);
        let (bias, saved) = (values(2 * stride, 5), allocate(2 * leading * SIZE.1 * 2));
        let strides = (stride as i64, (leading * SIZE.1) as i64);
        let plain = Product::new(BF16, BF16, SIZE, (false, false), 2);
        let product =
            Product { epilogue: 164, bias: upload_vector(F32, &bias), bias_type: F32, auxiliary: saved, auxiliary_leading: leading, strides, ..plain };
        for (batch, result) in product.run().unwrap().iter().enumerate() {
            let inputs = product.expected(batch).into_iter().zip(places(&product)).map(|(value, (row, _))| value + bias[batch * stride + row]);
            let inputs: Vec<f64> = inputs.collect();
            assert_close(result, &inputs.iter().map(|input| gelu(*input)).collect::<Vec<_>>(), BF16, "GELU of a batch");
            let first = saved + (2 * batch * leading * SIZE.1) as u64;
            let read = places(&product).into_iter().map(|(row, column)| decode(BF16, &download(first + 2 * (column * leading + row) as u64, 2))[0]);
            assert_close(&read.collect::<Vec<_>>(), &inputs, BF16, "inputs of a batch");
        }
        let wrong = Product { epilogue: 4, bias: allocate(128), bias_type: F64, ..Product::new(F32, F32, SIZE, (false, false), 1) };
        assert!(wrong.run().is_err(), "no product of f32 has a bias in f64");
    });
}

#[test]
fn a_bias_too_short_is_found() {
    in_own_process("a_bias_too_short_is_found", || {
        start();
        let bias = upload(&encode(F32, &values(SIZE.0 - 1, 1)));
        let product = Product { epilogue: 4, bias, ..Product::new(F32, F32, SIZE, (false, false), 1) };
        let d = allocate(4 * product.d.values.len());
        let stream = client::stream();
        product.launch([product.a.upload(), product.b.upload(), d, d], stream).unwrap();
        assert_ne!(status!(cudarc::driver::sys::cuStreamSynchronize(stream)), client::SUCCESS);
        assert!(control::take_findings().unwrap()[0].contains("out of bounds"));
    });
}
