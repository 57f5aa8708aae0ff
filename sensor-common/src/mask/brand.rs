//! Which numbers are cards by their first digits.

/// Bits of [`lengths`] are shifted by this for the lengths at which a number need not pass the Luhn test.
pub const UNCHECKED: u32 = 8;
/// The bits of the lengths that a card can have, 12 to 19.
pub const LENGTHS: u32 = bits(12, 19);

/// Bits `first` to `last`.
const fn bits(first: u32, last: u32) -> u32 {
    (2 << last) - (1 << first)
}

/// The lengths that a card with these six first digits can have, one bit a length. Brands whose issuers are known to
/// give numbers that fail the Luhn test have the same bits once more, [`UNCHECKED`] places higher.
#[inline(always)]
#[must_use]
pub const fn lengths(prefix: u32) -> u32 {
    const UNIONPAY: u32 = bits(14, 19) | bits(14, 19) << UNCHECKED;
    const MAESTRO: u32 = bits(12, 19);
    const DINERS: u32 = 1 << 14 | 1 << 16 | 1 << 19;
    let four = prefix / 100;
    match prefix / 10_000 {
        // Visa.
        40..=49 => 1 << 13 | 1 << 16 | 1 << 18 | 1 << 19,
        // Mastercard.
        51..=55 => 1 << 16,
        22..=27 if four >= 2221 && four <= 2720 => 1 << 16,
        // American Express.
        34 | 37 => 1 << 15,
        30 if four <= 3059 => DINERS,
        36 | 38 | 39 => DINERS,
        // JCB.
        35 if four >= 3528 && four <= 3589 => bits(16, 19),
        21 if four == 2131 => 1 << 15,
        18 if four == 1800 => 1 << 15,
        81 => UNIONPAY,
        62 => MAESTRO | UNIONPAY,
        // Discover is within these.
        50 | 56..=61 | 63..=69 => MAESTRO,
        // Korean domestic.
        90..=99 => 1 << 16 | 1 << (16 + UNCHECKED),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_brand_has_its_lengths() {
        for (prefix, allowed) in [
            (411_111, &[13, 16, 18, 19][..]),
            (510_000, &[16]),
            (559_999, &[16]),
            (222_100, &[16]),
            (272_099, &[16]),
            (340_000, &[15]),
            (370_000, &[15]),
            (300_000, &[14, 16, 19]),
            (305_999, &[14, 16, 19]),
            (360_000, &[14, 16, 19]),
            (380_000, &[14, 16, 19]),
            (390_000, &[14, 16, 19]),
            (352_800, &[16, 17, 18, 19]),
            (358_999, &[16, 17, 18, 19]),
            (213_100, &[15]),
            (180_000, &[15]),
            (601_100, &[12, 13, 14, 15, 16, 17, 18, 19]),
            (650_000, &[12, 13, 14, 15, 16, 17, 18, 19]),
            (500_000, &[12, 13, 14, 15, 16, 17, 18, 19]),
            (620_000, &[12, 13, 14, 15, 16, 17, 18, 19]),
            (810_000, &[14, 15, 16, 17, 18, 19]),
            (940_000, &[16]),
        ] {
            let found = (0..UNCHECKED + 12).filter(|length| lengths(prefix) >> length & 1 == 1);
            assert!(found.eq(allowed.iter().copied()), "{prefix}");
        }
        for none in
            [0, 100_000, 176_393, 200_000, 222_099, 272_100, 306_000, 352_700, 359_000, 330_000, 820_000]
        {
            assert_eq!(lengths(none), 0, "{none}");
        }
    }

    #[test]
    fn three_brands_need_no_luhn() {
        for prefix in 0..1_000_000 {
            let unchecked = lengths(prefix) >> UNCHECKED & LENGTHS;
            match prefix / 10_000 {
                62 | 81 => assert_eq!(unchecked, bits(14, 19)),
                90..=99 => assert_eq!(unchecked, 1 << 16),
                _ => assert_eq!(unchecked, 0),
            }
        }
    }
}
