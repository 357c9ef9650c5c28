//! Makes every checksum of a changed shard fit again, as a hostile or mistaken writer would. The fuzz target uses it too.

use ra_guard_core::shard::layout::{Header, PAGE, Section};
use xxhash_rust::xxh3::xxh3_64;
use zerocopy::{FromBytes, IntoBytes};

/// Recomputes the checksums of all sections that lie within the file, then the header's. Short files stay as they are.
pub fn reseal(bytes: &mut [u8]) {
    let Ok((mut header, _)) = Header::read_from_prefix(bytes) else {
        return;
    };
    for section in Section::ALL {
        let entry = &mut header.sections[section.position()];
        let end = entry.offset.saturating_add(entry.bytes);
        if let Some(contents) = bytes.get(entry.offset as usize..end as usize) {
            entry.checksum = xxh3_64(contents);
        }
    }
    header.checksum = header.computed_checksum();
    bytes[..PAGE].copy_from_slice(header.as_bytes());
}
