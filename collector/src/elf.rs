//! What an ELF file says of itself (elf(5)): for which machine it is, and whether it needs a loader. Pure.

/// `e_type`: a program at a fixed address.
const ET_EXEC: u64 = 2;
/// `e_type`: a program that runs anywhere.
const ET_DYN: u64 = 3;
/// `p_type`: the path of the loader that the program asks for.
const PT_INTERP: u64 = 3;

/// The header's own account of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elf {
    /// 64 bits, else 32.
    pub(crate) wide: bool,
    /// Least significant byte first.
    pub(crate) little: bool,
    /// `e_machine`.
    pub(crate) machine: u16,
    /// It asks for no loader, so that it runs without any library.
    pub(crate) fixed: bool,
}

impl Elf {
    /// Reads the headers of a program; `None` where `bytes` are none.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"\x7fELF" {
            return None;
        }
        let wide = match bytes.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let little = match bytes.get(5)? {
            1 => true,
            2 => false,
            _ => return None,
        };
        let number = |at: usize, length: usize| -> Option<u64> {
            let field = bytes.get(at..at.checked_add(length)?)?;
            let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
            Some(if little { field.iter().rev().fold(0, fold) } else { field.iter().fold(0, fold) })
        };
        // Where the program headers are: e_phoff, e_phentsize, e_phnum.
        let (offset, size, count) = if wide { ((32, 8), 54, 56) } else { ((28, 4), 42, 44) };
        let table = usize::try_from(number(offset.0, offset.1)?).ok()?;
        let (size, count) = (number(size, 2)? as usize, number(count, 2)? as usize);
        if ![ET_EXEC, ET_DYN].contains(&number(16, 2)?) || count == 0 {
            return None;
        }
        let mut fixed = true;
        for header in 0..count {
            fixed &= number(table.checked_add(header * size)?, 4)? != PT_INTERP;
        }
        Some(Self { wide, little, machine: number(18, 2)? as u16, fixed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header with one program header of `kind`, for a machine of 32 bits, the other way round.
    fn narrow(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 52 + 32];
        bytes[..6].copy_from_slice(b"\x7fELF\x01\x02");
        bytes[17] = 2;
        bytes[19] = 8;
        bytes[31] = 52;
        bytes[43] = 32;
        bytes[45] = 1;
        bytes[52 + 3] = kind;
        bytes
    }

    #[test]
    fn both_widths_and_byte_orders_are_read() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let found = Elf::of(&own).unwrap();
        assert_eq!(found.wide, cfg!(target_pointer_width = "64"));
        assert_eq!(found.little, cfg!(target_endian = "little"));
        assert!(!found.fixed, "this test itself is linked dynamically");
        let expected = Elf { wide: false, little: false, machine: 8, fixed: true };
        assert_eq!(Elf::of(&narrow(1)), Some(expected));
        assert_eq!(Elf::of(&narrow(3)), Some(Elf { fixed: false, ..expected }));
    }

    #[test]
    fn what_is_no_program_is_none() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", &narrow(1)[..55]] {
            assert_eq!(Elf::of(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Elf::of(&bytes);
            for (at, byte) in (0..6).zip(*b"\x7fELF\x02\x01") {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            let _ = Elf::of(&bytes);
        }
    }
}
