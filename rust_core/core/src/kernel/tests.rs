//! One suite over every kernel that this CPU can run: the same bits as the specification, and an error
//! against exact arithmetic within the bound that the module states.
#![allow(clippy::unwrap_used)]

use half::f16;
use proptest::prelude::*;

use super::{Dtype, Kernel, LINE_BYTES, QueryVector};

/// Rows as a shard stores them, one after the other, and the values that they stand for.
struct Rows {
    bytes: Vec<u8>,
    stride: usize,
    values: Vec<Vec<f32>>,
}

impl Rows {
    fn store(dtype: Dtype, dim: usize, values: &[f32]) -> Rows {
        let stride = (dim * dtype.bytes_per_value()).next_multiple_of(LINE_BYTES);
        let mut rows = Rows { bytes: Vec::new(), stride, values: Vec::new() };
        for row in values.chunks_exact(dim) {
            let start = rows.bytes.len();
            for value in row {
                match dtype {
                    Dtype::F32 => rows.bytes.extend(value.to_le_bytes()),
                    Dtype::F16 => rows.bytes.extend(f16::from_f32(*value).to_le_bytes()),
                    Dtype::I8 => rows.bytes.push((value * 127.0).round() as i8 as u8),
                }
            }
            rows.bytes.resize(start + stride, 0);
            rows.values.push(row.iter().map(|value| stored(dtype, *value)).collect());
        }
        rows
    }

    fn row(&self, i: usize) -> &[u8] {
        &self.bytes[i * self.stride..][..self.stride]
    }

    fn dots(&self, kernel: Kernel, dtype: Dtype, query: &[f32]) -> Vec<f32> {
        let mut prepared = QueryVector::default();
        prepared.prepare(query, dtype, self.stride);
        let mut out = vec![f32::NAN; self.values.len()];
        kernel.dot_rows(&prepared, self.values.len(), |i| self.row(i), &mut out);
        out
    }
}

fn stored(dtype: Dtype, value: f32) -> f32 {
    match dtype {
        Dtype::F32 => value,
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::I8 => (value * 127.0).round() as i8 as f32,
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The query as the kernel sees it: quantised for `i8` rows.
fn seen(dtype: Dtype, query: &[f32]) -> Vec<f64> {
    let largest = query.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    query
        .iter()
        .map(|value| match dtype {
            Dtype::I8 if largest > 0.0 => {
                (f64::from(*value) * (127.0 / f64::from(largest))).round() * f64::from(largest / 127.0)
            }
            _ => f64::from(*value),
        })
        .collect()
}

/// `gamma(n / 16 + 4) * sum |q x|`, and what is lost below the smallest normal number.
fn error_bound(dtype: Dtype, query: &[f64], row: &[f32]) -> f64 {
    let unit = f64::from(f32::EPSILON) / 2.0;
    let steps = match dtype {
        // An exact integer, one conversion and one product.
        Dtype::I8 => 2.0,
        Dtype::F32 | Dtype::F16 => (row.len().next_multiple_of(32) / 16 + 4) as f64,
    };
    let magnitude: f64 = query.iter().zip(row).map(|(q, x)| (q * f64::from(*x)).abs()).sum();
    let gamma = steps * unit / (1.0 - steps * unit);
    gamma * magnitude + steps * 16.0 * f64::from(f32::from_bits(1))
}

fn dtypes() -> impl Strategy<Value = Dtype> {
    prop::sample::select(Dtype::ALL.to_vec())
}

/// Ordinary values, exact zeros, subnormals of both precisions and the ends of the range.
fn values() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -1.0f32..1.0,
        1 => prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, 1e-38, -1e-42, 6e-8, -6e-5, 6.1e-5, f32::MIN_POSITIVE]),
    ]
}

prop_compose! {
    fn cases()(dtype in dtypes(), dim in 1usize..=1024, n in 0usize..=20)(
        dtype in Just(dtype),
        dim in Just(dim),
        query in prop::collection::vec(values(), dim),
        rows in prop::collection::vec(values(), dim * n),
    ) -> (Dtype, usize, Vec<f32>, Vec<f32>) {
        (dtype, dim, query, rows)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_kernel_gives_the_bits_of_the_specification((dtype, dim, query, values) in cases()) {
        let rows = Rows::store(dtype, dim, &values);
        let wanted = rows.dots(Kernel::named("scalar").unwrap(), dtype, &query);
        for kernel in Kernel::available() {
            prop_assert_eq!(bits(&rows.dots(kernel, dtype, &query)), bits(&wanted), "{} {:?}", kernel.name(), dtype);
        }
    }

    #[test]
    fn the_error_stays_within_its_bound((dtype, dim, query, values) in cases()) {
        let rows = Rows::store(dtype, dim, &values);
        let query_seen = seen(dtype, &query);
        for (row, dot) in rows.values.iter().zip(rows.dots(Kernel::detect(), dtype, &query)) {
            let exact: f64 = query_seen.iter().zip(row).map(|(q, x)| q * f64::from(*x)).sum();
            let error = (f64::from(dot) - exact).abs();
            prop_assert!(error <= error_bound(dtype, &query_seen, row), "{dtype:?}: {dot} against {exact}");
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_in_company((dtype, dim, query, values) in cases()) {
        let rows = Rows::store(dtype, dim, &values);
        let mut prepared = QueryVector::default();
        prepared.prepare(&query, dtype, rows.stride);
        for kernel in Kernel::available() {
            for (i, wanted) in rows.dots(kernel, dtype, &query).iter().enumerate() {
                let mut alone = [0.0];
                kernel.dot_rows(&prepared, 1, |_| rows.row(i), &mut alone);
                prop_assert_eq!(alone[0].to_bits(), wanted.to_bits());
            }
        }
    }
}

#[test]
fn full_range_values_keep_their_bits() {
    let extremes = [f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e-30, 65504.0, -65504.0, 0.0];
    for dtype in [Dtype::F32, Dtype::F16] {
        for (i, extreme) in extremes.iter().enumerate() {
            let mut values = vec![0.25f32; 96];
            values[i * 7] = *extreme;
            let rows = Rows::store(dtype, 96, &values);
            let wanted = rows.dots(Kernel::named("scalar").unwrap(), dtype, &[0.5; 96]);
            for kernel in Kernel::available() {
                assert_eq!(bits(&rows.dots(kernel, dtype, &[0.5; 96])), bits(&wanted), "{} {extreme}", kernel.name());
            }
        }
    }
}

#[test]
fn i8_products_are_exact_at_the_ends_of_the_range() {
    let query: Vec<f32> = (0..4096).map(|i| if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
    let sum: i64 = query.iter().map(|q| *q as i64 * 127).sum();
    for stored in [i8::MIN, -127, 127] {
        let row = vec![stored as u8; 4096];
        let mut prepared = QueryVector::default();
        prepared.prepare(&query, Dtype::I8, 4096);
        let wanted = (sum * i64::from(stored)) as f32 * (1.0 / 127.0);
        for kernel in Kernel::available() {
            let mut out = [0.0];
            kernel.dot_rows(&prepared, 1, |_| &row, &mut out);
            assert_eq!(out[0].to_bits(), wanted.to_bits(), "{} {stored}", kernel.name());
        }
    }
}

#[test]
fn rows_may_lie_at_any_address() {
    let values: Vec<f32> = (0..64 * 5).map(|i| (i as f32 * 0.37).sin()).collect();
    for dtype in Dtype::ALL {
        let rows = Rows::store(dtype, 64, &values);
        let shifted: Vec<u8> = [0u8; 3].into_iter().chain(rows.bytes.iter().copied()).collect();
        let mut prepared = QueryVector::default();
        prepared.prepare(&values[..64], dtype, rows.stride);
        for kernel in Kernel::available() {
            let mut out = [0.0; 5];
            kernel.dot_rows(&prepared, 5, |i| &shifted[3 + i * rows.stride..][..rows.stride], &mut out);
            assert_eq!(bits(&out), bits(&rows.dots(kernel, dtype, &values[..64])));
        }
    }
}

#[test]
fn a_smaller_query_leaves_nothing_of_a_larger_one() {
    for dtype in Dtype::ALL {
        let mut reused = QueryVector::default();
        reused.prepare(&[1.0; 512], dtype, 2048);
        let rows = Rows::store(dtype, 7, &[0.5; 7]);
        reused.prepare(&[0.5; 7], dtype, rows.stride);
        let mut out = [0.0];
        Kernel::detect().dot_rows(&reused, 1, |_| rows.row(0), &mut out);
        assert_eq!(bits(&out), bits(&rows.dots(Kernel::detect(), dtype, &[0.5; 7])));
    }
}

#[test]
#[should_panic(expected = "row of 60 bytes")]
fn a_short_row_is_refused() {
    let mut prepared = QueryVector::default();
    prepared.prepare(&[1.0; 16], Dtype::F32, 64);
    Kernel::detect().dot_rows(&prepared, 1, |_| &[0; 60], &mut [0.0]);
}

#[test]
#[should_panic(expected = "do not fit stride")]
fn a_stride_too_short_for_the_query_is_refused() {
    QueryVector::default().prepare(&[1.0; 33], Dtype::F16, 64);
}

#[test]
fn touching_reads_every_line_of_every_row() {
    let bytes: Vec<u8> = (0..3 * 4).flat_map(|line: u64| (1u64 << line).to_le_bytes().repeat(8)).collect();
    let sum = Kernel::detect().touch_rows(3, |i| &bytes[i * 256..][..256]);
    assert_eq!(sum, 0b1111_1111_1111);
}

#[test]
fn names_lead_back_to_their_kernel() {
    for kernel in Kernel::available() {
        assert_eq!(Kernel::named(kernel.name()), Some(kernel));
    }
    assert_eq!(Kernel::available().last(), Kernel::named("scalar").as_ref());
    assert_eq!(Kernel::named("sse"), None);
}

/// A build that lost its vector kernels still works, seven times slower: only a test can notice.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_best_kernel_of_the_cpu_is_in_use() {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    let wanted = match (avx2, avx512, is_x86_feature_detected!("avx512vnni")) {
        (_, true, true) => "avx512-vnni",
        (_, true, false) => "avx512",
        (true, false, _) => "avx2",
        (false, false, _) => "scalar",
    };
    assert_eq!(Kernel::detect().name(), wanted);
    assert_eq!(Kernel::named("avx2").is_some(), avx2);
    assert_eq!(Kernel::named("avx512").is_some(), avx512);
}

/// What the operating system says about the CPU, read apart from the feature macros.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn the_cpu_list_of_the_system_agrees() {
    let Ok(list) = std::fs::read_to_string("/proc/cpuinfo") else {
        return;
    };
    let flags = list.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    if has("avx2") && has("fma") && has("f16c") {
        assert_ne!(Kernel::detect().name(), "scalar");
    }
    if has("avx512bw") && has("avx512_vnni") {
        assert_eq!(Kernel::detect().name(), "avx512-vnni");
    }
}
