//! Intel's samples of each kind of evidence, with collateral and a second at which it holds: what tests go through.
//!
//! Provenance: `testing/vectors/attest/README.md`. What the processors' certificates say, and the statuses, were read out of the files by a
//! script that shares nothing with the verifier.

use phala_attest::{AcceptedStatuses, TcbStatus};

/// A genuine quote, and what is known of it.
pub struct Sample {
    /// As a driver gave it.
    pub quote: &'static [u8],
    /// In the JSON that tools write.
    pub collateral: &'static [u8],
    /// Unix seconds: a day after its TCB info was issued.
    pub at: u64,
    /// Of its platform then.
    pub status: TcbStatus,
    /// In hexadecimal.
    pub measurement: &'static str,
    /// FMSPC, PCE id, CPUSVN and PCESVN of its processor's certificate, in hexadecimal; the last little-endian.
    pub processor: [&'static str; 4],
}

impl Sample {
    /// The statuses of a policy that takes it, and no worse one.
    pub fn accepted(&self) -> AcceptedStatuses {
        AcceptedStatuses::UP_TO_DATE.with(self.status)
    }

    /// Whether it is of an enclave.
    pub fn is_enclave(&self) -> bool {
        self.quote.starts_with(&[3])
    }
}

macro_rules! vector {
    ($read:ident, $name:literal) => {
        $read!(concat!("../../../../../testing/vectors/attest/", $name))
    };
}

/// SGX quote version 3, TDX quote versions 4 (TD report 1.0) and 5 (TD report 1.5, extended).
pub static SAMPLES: [Sample; 3] = [
    Sample {
        quote: vector!(include_bytes, "sgx_v3.bin"),
        collateral: vector!(include_bytes, "sgx_v3.collateral.json"),
        at: 1_750_416_971,
        status: TcbStatus::ConfigurationAndSwHardeningNeeded,
        measurement: vector!(include_str, "sgx_v3.measurement"),
        processor: ["00a067110000", "0000", "0b0b0202ff0100000000000000000000", "0d00"],
    },
    Sample {
        quote: vector!(include_bytes, "tdx_v4.bin"),
        collateral: vector!(include_bytes, "tdx_v4.collateral.json"),
        at: 1_750_414_563,
        status: TcbStatus::UpToDate,
        measurement: vector!(include_str, "tdx_v4.measurement"),
        processor: ["b0c06f000000", "0000", "03030202040100050000000000000000", "0b00"],
    },
    Sample {
        quote: vector!(include_bytes, "tdx_v5.bin"),
        collateral: vector!(include_bytes, "tdx_v4.later-collateral.json"),
        at: 1_791_504_586,
        status: TcbStatus::UpToDate,
        measurement: vector!(include_str, "tdx_v5.measurement"),
        processor: ["b0c06f000000", "0000", "04040202040100050000000000000000", "0b00"],
    },
];
