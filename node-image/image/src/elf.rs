//! Reads the few things of 64-bit little-endian ELF files that the build asks for: a section by name, and what a program is
//! linked to. Every offset is checked. Called by `kernel`, `modules`, `programs` and `assemble`.

/// Program header type of the path to a dynamic loader.
const INTERPRETER: u32 = 3;

/// Tag of a dynamic entry: a library that is needed.
const NEEDED: u64 = 1;
/// A dynamic entry is a tag and a value.
const DYNAMIC_ENTRY_BYTES: usize = 16;

/// A parsed view of an ELF file.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a> {
    bytes: &'a [u8],
}

impl<'a> Elf<'a> {
    /// Takes a 64-bit little-endian x86-64 file.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let x86_64 = bytes.get(18..20) == Some([62, 0].as_slice());
        (bytes.starts_with(b"\x7fELF\x02\x01") && x86_64).then_some(Self { bytes })
    }

    /// The bytes of a section.
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        let table = self.number(40, 8)?;
        let size = self.number(58, 2)?;
        let count = self.number(60, 2)?;
        let header = |index: usize| table.checked_add(index.checked_mul(size)?);
        let names = self.span(header(self.number(62, 2)?)?)?;
        (0..count).find_map(|index| {
            let at = header(index)?;
            let own = names.get(self.number(at, 4)?..)?;
            let own = &own[..own.iter().position(|b| *b == 0)?];
            (own == name.as_bytes()).then(|| self.span(at)).flatten()
        })
    }

    /// Whether the program asks for a dynamic loader.
    pub fn is_dynamic(&self) -> Option<bool> {
        let table = self.number(32, 8)?;
        let size = self.number(54, 2)?;
        let count = self.number(56, 2)?;
        let mut dynamic = false;
        for index in 0..count {
            let at = table.checked_add(index.checked_mul(size)?)?;
            dynamic |= u32::try_from(self.number(at, 4)?).ok()? == INTERPRETER;
        }
        Some(dynamic)
    }

    /// The path of the dynamic loader that the program asks for.
    pub fn interpreter(&self) -> Option<&'a str> {
        text(self.section(".interp")?, 0)
    }

    /// The libraries that it is linked to, by name: none for a static program. Absent: it is damaged.
    pub fn needed(&self) -> Option<Vec<&'a str>> {
        let Some(dynamic) = self.section(".dynamic") else {
            return Some(Vec::new());
        };
        let names = self.section(".dynstr")?;
        let needed = dynamic.chunks_exact(DYNAMIC_ENTRY_BYTES).filter_map(|entry| {
            let (tag, value) = entry.split_first_chunk::<8>()?;
            let at = u64::from_le_bytes(value.try_into().ok()?);
            (u64::from_le_bytes(*tag) == NEEDED).then_some(at)
        });
        needed.map(|at| text(names, usize::try_from(at).ok()?)).collect()
    }

    /// What the section header at `at` points to.
    fn span(&self, at: usize) -> Option<&'a [u8]> {
        let from = self.number(at.checked_add(24)?, 8)?;
        let size = self.number(at.checked_add(32)?, 8)?;
        self.bytes.get(from..from.checked_add(size)?)
    }

    fn number(&self, at: usize, width: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        let value = bytes
            .iter()
            .rev()
            .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    }
}

/// A text that ends with a zero.
fn text(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    std::str::from_utf8(&rest[..rest.iter().position(|byte| *byte == 0)?]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_is_an_elf_file_with_text() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        assert!(!elf.section(".text").unwrap().is_empty());
        assert!(elf.section(".no-such-section").is_none());
        assert!(elf.is_dynamic().is_some());
    }

    #[test]
    fn a_cut_file_has_no_sections_and_does_not_panic() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for cut in [6, 20, 63, 64, 1000] {
            assert!(
                Elf::parse(&bytes[..cut]).and_then(|e| e.section(".text")).is_none(),
                "{cut}"
            );
        }
    }
}
