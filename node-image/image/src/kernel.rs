//! Unpacks the `vmlinux` inside a `vmlinuz`. Booted directly (PVH), it saves the guest from unpacking itself, which is
//! slow in an emulator. Pure: bytes in, bytes out. Called by `assemble`.

use crate::elf::Elf;
use crate::lz4;

/// A kernel has at most so many bytes once unpacked.
pub const KERNEL_MAX_BYTES: usize = 256 << 20;

/// Offset of the boot protocol's magic word in a `vmlinuz`.
const HEADER_MAGIC_AT: usize = 0x202;
const SETUP_SECTORS_AT: usize = 0x1f1;
const PAYLOAD_OFFSET_AT: usize = 0x248;
const PAYLOAD_LENGTH_AT: usize = 0x24c;
const SECTOR_BYTES: usize = 512;
/// What old kernels mean by zero setup sectors.
const SETUP_SECTORS_DEFAULT: u8 = 4;
/// The payload ends with its unpacked size.
const SIZE_BYTES: usize = 4;

/// Why a kernel cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// There is no boot header.
    #[error("it is no bzImage")]
    NotAKernel,
    /// The payload is packed in a way that is not known here.
    #[error("its payload starts with {0:02x?}, and only lz4 is known here")]
    Packing(Vec<u8>),
    /// The payload cannot be decoded.
    #[error("its payload is damaged")]
    Damaged(#[from] lz4::Damaged),
    /// The payload is no ELF file, or has another size than it says.
    #[error("its payload is not the vmlinux that the header promises")]
    NotElf,
}

/// The `vmlinux` inside `vmlinuz`.
pub fn vmlinux(vmlinuz: &[u8]) -> Result<Vec<u8>, KernelError> {
    let payload = payload(vmlinuz).ok_or(KernelError::NotAKernel)?;
    let (packed, size) = payload
        .split_last_chunk::<SIZE_BYTES>()
        .ok_or(KernelError::NotAKernel)?;
    if !packed.starts_with(&lz4::LEGACY_MAGIC) {
        return Err(KernelError::Packing(packed[..packed.len().min(4)].to_vec()));
    }
    let vmlinux = lz4::decode_legacy(packed, KERNEL_MAX_BYTES)?;
    let promised = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| KernelError::NotElf)?;
    if vmlinux.len() != promised || Elf::parse(&vmlinux).is_none() {
        return Err(KernelError::NotElf);
    }
    Ok(vmlinux)
}

/// The packed kernel, found by the x86 boot protocol's header.
fn payload(vmlinuz: &[u8]) -> Option<&[u8]> {
    if vmlinuz.get(HEADER_MAGIC_AT..HEADER_MAGIC_AT + 4)? != b"HdrS" {
        return None;
    }
    let sectors = match *vmlinuz.get(SETUP_SECTORS_AT)? {
        0 => SETUP_SECTORS_DEFAULT,
        given => given,
    };
    let number = |at: usize| {
        let bytes = vmlinuz.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let from = (usize::from(sectors) + 1) * SECTOR_BYTES + number(PAYLOAD_OFFSET_AT)?;
    vmlinuz.get(from..from.checked_add(number(PAYLOAD_LENGTH_AT)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `vmlinuz` of one setup sector whose payload is `packed` and says it has `size` bytes unpacked.
    fn vmlinuz(packed: &[u8], size: u32) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR_BYTES];
        image[SETUP_SECTORS_AT] = 1;
        image[HEADER_MAGIC_AT..HEADER_MAGIC_AT + 4].copy_from_slice(b"HdrS");
        let length = u32::try_from(packed.len() + SIZE_BYTES).unwrap();
        image[PAYLOAD_LENGTH_AT..PAYLOAD_LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(packed);
        image.extend_from_slice(&size.to_le_bytes());
        image
    }

    /// Bytes as an lz4 frame of one block without matches, of at most 269 bytes.
    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut block = vec![0xf0, u8::try_from(bytes.len() - 15).unwrap()];
        block.extend_from_slice(bytes);
        let size = u32::try_from(block.len()).unwrap().to_le_bytes();
        [lz4::LEGACY_MAGIC.as_slice(), &size, &block].concat()
    }

    fn elf() -> Vec<u8> {
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        elf
    }

    #[test]
    fn the_elf_file_inside_is_found() {
        assert_eq!(vmlinux(&vmlinuz(&packed(&elf()), 64)), Ok(elf()));
    }

    #[test]
    fn what_is_not_a_kernel_is_refused_with_the_reason() {
        assert_eq!(vmlinux(b"not a kernel"), Err(KernelError::NotAKernel));
        assert_eq!(
            vmlinux(&vmlinuz(&[0x28, 0xb5, 0x2f, 0xfd], 4)),
            Err(KernelError::Packing(vec![0x28, 0xb5, 0x2f, 0xfd]))
        );
        assert_eq!(vmlinux(&vmlinuz(&packed(&elf()), 65)), Err(KernelError::NotElf));
        assert_eq!(vmlinux(&vmlinuz(&packed(&[0; 64]), 64)), Err(KernelError::NotElf));
    }
}
