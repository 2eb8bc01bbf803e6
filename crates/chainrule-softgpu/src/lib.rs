//! A GPU made of software: what stands in for the driver and cuBLASLt in tests.
