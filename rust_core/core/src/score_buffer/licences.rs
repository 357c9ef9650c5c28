//! Which licences a request allows.

use crate::wire::Strings;

/// A bit for each licence code that the request allows; all of them when it names none.
pub(super) struct AllowedLicences([u64; 4]);

impl AllowedLicences {
    pub(super) fn of(allowed: Strings<'_>, licences: &[String]) -> AllowedLicences {
        if allowed.is_empty() {
            return AllowedLicences([u64::MAX; 4]);
        }
        let mut bits = [0u64; 4];
        for (code, licence) in licences.iter().enumerate().take(256) {
            if allowed.contains(&licence.as_str()) {
                bits[code / 64] |= 1 << (code % 64);
            }
        }
        AllowedLicences(bits)
    }

    #[inline]
    pub(super) fn allow(&self, licence: u8) -> bool {
        self.0[usize::from(licence) / 64] >> (licence % 64) & 1 == 1
    }
}
