//! stub
#![allow(missing_docs)]
pub mod frame {
    //! stub until the codec is merged
    pub const FRAME_HEADER_BYTES_MAX: usize = 10;
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Opcode {
        Text = 1,
        Binary = 2,
    }
    pub fn encode_header(out: &mut [u8; 10], opcode: Opcode, fin: bool, len: usize) -> usize {
        out[0] = opcode as u8 | if fin { 0x80 } else { 0 };
        if len < 126 {
            out[1] = len as u8;
            2
        } else if len < 65536 {
            out[1] = 126;
            out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        } else {
            out[1] = 127;
            out[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    }
}
