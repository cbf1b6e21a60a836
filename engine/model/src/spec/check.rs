//! The rules that span fields.
