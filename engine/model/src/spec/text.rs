//! Reading a spec from text.
