//! A small host: values in, a launch, values out.
use chainrule_ptx::{Fault, Launch, Memory, Module, Statistics};

/// A memory with one module in it.
pub struct Device {
    pub memory: Memory,
    pub module: Module,
    pub seed: u64,
    pub dynamic_shared: u32,
}

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub enum Argument<'a> {
    Address(u64),
    Word32(u32),
    Bytes(&'a [u8]),
}

impl Device {
    pub fn new(text: &str) -> Device {
        let module = chainrule_ptx::parse(text).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = Memory::new();
        module.load(&mut memory).unwrap();
        Device { memory, module, seed: 0, dynamic_shared: 0 }
    }

    pub fn words(&mut self, values: &[u32]) -> u64 {
        let address = self.memory.allocate(values.len() * 4).unwrap();
        self.memory.write(address, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        address
    }

    pub fn singles(&mut self, values: &[f32]) -> u64 {
        self.words(&values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>())
    }

    pub fn doubles(&mut self, values: &[u64]) -> u64 {
        self.words(&values.iter().flat_map(|&value| [value as u32, (value >> 32) as u32]).collect::<Vec<u32>>())
    }

    pub fn empty(&mut self, words: usize) -> u64 {
        self.memory.allocate(words * 4).unwrap()
    }

    pub fn read_words(&self, address: u64, count: usize) -> Vec<u32> {
        let mut bytes = vec![0; count * 4];
        self.memory.read(address, &mut bytes).unwrap();
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    pub fn read_singles(&self, address: u64, count: usize) -> Vec<f32> {
        self.read_words(address, count).into_iter().map(f32::from_bits).collect()
    }

    pub fn read_doubles(&self, address: u64, count: usize) -> Vec<u64> {
        self.read_words(address, count * 2).chunks_exact(2).map(|pair| pair[0] as u64 | (pair[1] as u64) << 32).collect()
    }

    pub fn launch(&mut self, kernel: &str, grid: [u32; 3], block: [u32; 3], arguments: &[Argument]) -> Result<Statistics, Fault> {
        let kernel = self.module.kernel(kernel).expect("the kernel");
        let mut parameters = vec![0; kernel.parameter_bytes()];
        assert_eq!(kernel.parameters().len(), arguments.len());
        for (parameter, argument) in kernel.parameters().iter().zip(arguments) {
            let bytes = match argument {
                Argument::Address(address) => address.to_le_bytes().to_vec(),
                Argument::Word32(word) => word.to_le_bytes().to_vec(),
                Argument::Bytes(bytes) => bytes.to_vec(),
            };
            assert_eq!(parameter.bytes, bytes.len(), "{}", parameter.name);
            parameters[parameter.offset..parameter.offset + parameter.bytes].copy_from_slice(&bytes);
        }
        let mut launch = Launch::new(&kernel, grid, block, &parameters);
        launch.seed = self.seed;
        launch.dynamic_shared = self.dynamic_shared;
        launch.instruction_bound = 50_000_000;
        chainrule_ptx::run(&launch, &mut self.memory)
    }
}

/// Numbers that look random, the same every time.
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}
