//! Plain data in Python's pickles, of protocols 2 to 5. A pickle is a program for a machine with a
//! stack; here it can make nothing but values: classes are names, calls are kept and never made.

use std::borrow::Cow;
use std::collections::HashMap;

/// A place in [`Pickle`].
pub(super) type Id = usize;

/// A value; what it consists of is named by place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Cow<'a, [u8]>),
    /// A tuple or a list.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A module and a name in it.
    Global(String),
    /// What a call would make, and the state that it would be given.
    Call {
        callable: Id,
        arguments: Id,
        state: Option<Id>,
    },
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Returns the values in `bytes`, or what is wrong with them.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine::new(bytes);
        loop {
            let at = machine.at;
            let code = machine.byte().or(Err("it ends in the middle".to_owned()))?;
            if at == 0 && code != PROTO {
                return Err("it is no pickle of protocol 2 or later".into());
            }
            if code == STOP {
                break;
            }
            machine.step(code).map_err(|problem| format!("{problem} at byte {at}"))?;
        }
        let root = machine.pop()?;
        Ok(Self { values: machine.values, root })
    }

    pub(super) fn root(&self) -> Id {
        self.root
    }

    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The value of a text key of a dictionary.
    pub(super) fn entry(&self, id: Id, key: &str) -> Option<Id> {
        let Value::Dict(entries) = self.value(id) else { return None };
        let is_key = |name: Id| matches!(self.value(name), Value::Text(text) if text == key);
        // Of equal keys the last counts.
        entries.iter().rev().find(|(name, _)| is_key(*name)).map(|(_, value)| *value)
    }

    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        if let Value::List(items) = self.value(id) { Some(items) } else { None }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        if let Value::Int(value) = self.value(id) { Some(*value) } else { None }
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        if let Value::Text(text) = self.value(id) { Some(text) } else { None }
    }

    /// What is called, with its arguments and state, if the value is a call.
    pub(super) fn call(&self, id: Id) -> Option<(&str, &[Id], Option<Id>)> {
        let Value::Call { callable, arguments, state } = self.value(id) else { return None };
        let Value::Global(name) = self.value(*callable) else { return None };
        Some((name, self.items(*arguments)?, *state))
    }
}

const PROTO: u8 = 0x80;
const STOP: u8 = b'.';
const NEWEST_PROTOCOL: u8 = 5;

type Step = Result<(), String>;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (values, stack, marks) = (Vec::new(), Vec::new(), Vec::new());
        Self { bytes, at: 0, values, stack, marks, memo: HashMap::new() }
    }

    fn step(&mut self, code: u8) -> Step {
        match code {
            PROTO => self.protocol(),
            // Frames tell readers how much to fetch.
            0x95 => self.take(8).map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'N' | 0x88 | 0x89 | b'J' | b'K' | b'M' | 0x8a | b'G' => self.number(code),
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'B' | b'C' | 0x8e | 0x96 => self.string(code),
            b')' | b't' | 0x85..=0x87 | b']' | b'a' | b'e' | b'l' => self.list(code),
            b'}' | b'd' | b's' | b'u' => self.dict(code),
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(code),
            b'c' | 0x93 | b'R' | 0x81 | b'b' => self.object(code),
            _ => Err(format!("instruction 0x{code:02x} makes no plain data")),
        }
    }

    fn protocol(&mut self) -> Step {
        match self.byte()? {
            2..=NEWEST_PROTOCOL => Ok(()),
            version => Err(format!("protocol {version} is not known")),
        }
    }

    fn number(&mut self, code: u8) -> Step {
        let value = match code {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool(code == 0x88),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.array()?))),
            0x8a => Value::Int(self.long()?),
            _ => Value::Float(f64::from_be_bytes(self.array()?)),
        };
        self.push(value)
    }

    /// A whole number of any length, of which at most eight bytes are of use.
    fn long(&mut self) -> Result<i64, String> {
        let length = self.byte()?;
        let bytes = self.take(usize::from(length))?;
        if bytes.len() > 8 {
            return Err("a whole number of more than 64 bits".into());
        }
        let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut all = [sign; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(all))
    }

    fn string(&mut self, code: u8) -> Step {
        let length = match code {
            0x8c | b'U' | b'C' => usize::from(self.byte()?),
            b'X' | b'T' | b'B' => u32::from_le_bytes(self.array()?) as usize,
            _ => usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX),
        };
        let bytes = self.take(length)?;
        let is_text = matches!(code, b'X' | 0x8c | 0x8d);
        let text = is_text.then(|| std::str::from_utf8(bytes).map(str::to_owned)).transpose();
        let text = text.or(Err("a text that is no UTF-8".to_owned()))?;
        self.push(text.map_or(Value::Bytes(Cow::Borrowed(bytes)), Value::Text))
    }

    fn list(&mut self, code: u8) -> Step {
        match code {
            b'a' | b'e' => {
                let new = if code == b'a' { vec![self.pop()?] } else { self.pop_to_mark()? };
                match self.top()? {
                    Value::List(items) => items.extend(new),
                    _ => return Err("something is appended to what is no list".into()),
                }
                Ok(())
            }
            b')' | b']' => self.push(Value::List(Vec::new())),
            b't' | b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items))
            }
            _ => {
                let count = usize::from(code - 0x84);
                let start = self.stack.len().checked_sub(count).ok_or_else(empty)?;
                let items = self.stack.split_off(start);
                self.push(Value::List(items))
            }
        }
    }

    fn dict(&mut self, code: u8) -> Step {
        if code == b'}' {
            return self.push(Value::Dict(Vec::new()));
        }
        let flat = if code == b's' {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.pop_to_mark()?
        };
        if flat.len() % 2 != 0 {
            return Err("a key without a value".into());
        }
        let entries = flat.chunks_exact(2).map(|entry| (entry[0], entry[1]));
        if code == b'd' {
            return self.push(Value::Dict(entries.collect()));
        }
        match self.top()? {
            Value::Dict(known) => known.extend(entries),
            _ => return Err("a key is set in what is no dictionary".into()),
        }
        Ok(())
    }

    fn remember(&mut self, code: u8) -> Step {
        let place = match code {
            b'q' | b'h' => usize::from(self.byte()?),
            b'r' | b'j' => u32::from_le_bytes(self.array()?) as usize,
            _ => self.memo.len(),
        };
        if matches!(code, b'h' | b'j') {
            let known = self.memo.get(&place).ok_or("a value that was not kept is asked for")?;
            self.stack.push(*known);
        } else {
            self.memo.insert(place, *self.stack.last().ok_or_else(empty)?);
        }
        Ok(())
    }

    fn object(&mut self, code: u8) -> Step {
        match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(format!("{module}.{name}")))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.values[module], &self.values[name]) {
                    (Value::Text(module), Value::Text(name)) => {
                        let global = Value::Global(format!("{module}.{name}"));
                        self.push(global)
                    }
                    _ => Err("a class without a name".into()),
                }
            }
            b'b' => {
                let given = self.pop()?;
                match self.top()? {
                    Value::Call { state, .. } => *state = Some(given),
                    _ => return Err("a state is given to what takes none".into()),
                }
                Ok(())
            }
            _ => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.push(Value::Call { callable, arguments, state: None })
            }
        }
    }

    fn push(&mut self, value: Value<'a>) -> Step {
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(empty)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(empty)?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Value<'a>, String> {
        let id = *self.stack.last().ok_or_else(empty)?;
        Ok(&mut self.values[id])
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("it ends in the middle of a value")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|b| *b == b'\n').ok_or("a name without an end")?;
        let line = self.take(length)?;
        self.at += 1;
        std::str::from_utf8(line).or(Err("a name that is no UTF-8".to_owned()))
    }
}

fn empty() -> String {
    "there is nothing on its stack".to_owned()
}
