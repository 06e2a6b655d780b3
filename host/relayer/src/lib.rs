//! Carries finality, proofs and messages between chain and TEEs
