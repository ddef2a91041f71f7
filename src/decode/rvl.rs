//! RVL: lossless compression of 16-bit depth (A. D. Wilson, "Fast Lossless Depth Image
//! Compression", 2017). Runs of zeros alternate with runs of differences, all as variable-length
//! numbers of 3-bit groups in the nibbles of little-endian 32-bit words, highest nibble first.

use super::{DecodeError, Result};

/// Returns the `pixels` values that `data` hold.
///
/// # Errors
/// Where the data end early or their runs are longer than the image.
pub fn decode_rvl(data: &[u8], pixels: usize) -> Result<Vec<u16>> {
    let mut nibbles = Nibbles { data, word: 0, left: 0 };
    let mut values: Vec<u16> = Vec::with_capacity(pixels.min(data.len() * 2 + 1));
    let mut previous = 0u16;
    while values.len() < pixels {
        let zeros = nibbles.run(pixels - values.len())?;
        values.resize(values.len() + zeros, 0);
        let nonzeros = nibbles.run(pixels - values.len())?;
        for _ in 0..nonzeros {
            previous = previous.wrapping_add(nibbles.difference()?);
            values.push(previous);
        }
        if zeros == 0 && nonzeros == 0 {
            return Err(DecodeError::new("RVL data do not go on"));
        }
    }
    Ok(values)
}

struct Nibbles<'a> {
    data: &'a [u8],
    word: u32,
    left: u32,
}

impl Nibbles<'_> {
    fn next(&mut self) -> Result<u32> {
        if self.left == 0 {
            let (word, rest) = self
                .data
                .split_first_chunk::<4>()
                .ok_or_else(|| DecodeError::new("RVL data end in the middle of the image"))?;
            (self.word, self.data, self.left) = (u32::from_le_bytes(*word), rest, 8);
        }
        let nibble = self.word >> 28;
        self.word <<= 4;
        self.left -= 1;
        Ok(nibble)
    }

    fn number(&mut self) -> Result<u32> {
        let mut value = 0;
        for shift in (0..32).step_by(3) {
            let nibble = self.next()?;
            value |= (nibble & 7) << shift;
            if nibble & 8 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::new("RVL data hold a number of more than 32 bits"))
    }

    fn run(&mut self, limit: usize) -> Result<usize> {
        let run = self.number()? as usize;
        if run > limit {
            return Err(DecodeError::new("RVL data hold a run beyond the end of the image"));
        }
        Ok(run)
    }

    /// Returns a zigzag-coded difference as what is to be added modulo 2^16.
    fn difference(&mut self) -> Result<u16> {
        let zigzag = self.number()?;
        Ok(((zigzag >> 1) ^ (zigzag & 1).wrapping_neg()) as u16)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Writer {
        nibbles: Vec<u32>,
    }

    impl Writer {
        fn number(&mut self, mut value: u32) {
            loop {
                let rest = value >> 3;
                self.nibbles.push((value & 7) | if rest > 0 { 8 } else { 0 });
                if rest == 0 {
                    return;
                }
                value = rest;
            }
        }

        fn bytes(&self) -> Vec<u8> {
            let word = |chunk: &[u32]| {
                (0..8).fold(0, |word, i| (word << 4) | chunk.get(i).copied().unwrap_or(0))
            };
            self.nibbles.chunks(8).flat_map(|chunk| u32::to_le_bytes(word(chunk))).collect()
        }
    }

    /// The encoder of the paper.
    pub fn encode(values: &[u16]) -> Vec<u8> {
        let mut writer = Writer::default();
        let mut rest = values;
        let mut previous = 0i32;
        while !rest.is_empty() {
            let zeros = rest.iter().take_while(|&&v| v == 0).count();
            let nonzeros = rest[zeros..].iter().take_while(|&&v| v != 0).count();
            writer.number(zeros as u32);
            writer.number(nonzeros as u32);
            for &value in &rest[zeros..zeros + nonzeros] {
                let difference = i32::from(value) - previous;
                writer.number(((difference << 1) ^ (difference >> 31)) as u32);
                previous = i32::from(value);
            }
            rest = &rest[zeros + nonzeros..];
        }
        writer.bytes()
    }

    #[test]
    fn a_hand_made_word_is_read_nibble_by_nibble() {
        // two zeros; one value: difference +5 = zigzag 10 = groups 2, 1
        let word = 0x21A1_0000u32;
        assert_eq!(decode_rvl(&word.to_le_bytes(), 3).unwrap(), [0, 0, 5]);
    }

    #[test]
    fn cut_off_data_and_runs_beyond_the_image_are_errors() {
        let data = encode(&[1, 2, 3, 0, 0, 60000, 9, 9, 9, 9]);
        assert!(decode_rvl(&data[..4], 10).unwrap_err().to_string().contains("end in the middle"));
        assert!(decode_rvl(&data, 2).unwrap_err().to_string().contains("beyond the end"));
        assert!(decode_rvl(&[0; 64], 10).unwrap_err().to_string().contains("do not go on"));
        assert!(decode_rvl(&[0xff; 64], 10).unwrap_err().to_string().contains("32 bits"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(values in prop::collection::vec(
            prop_oneof![Just(0u16), any::<u16>(), 900u16..1100], 0..300
        )) {
            prop_assert_eq!(decode_rvl(&encode(&values), values.len()).unwrap(), values);
        }

        #[test]
        fn random_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(values) = decode_rvl(&data, 10_000) {
                prop_assert_eq!(values.len(), 10_000);
            }
        }
    }
}
