//! What the known names mean when a pickle calls them: storages and the views on them, which are tensors.

use super::{Global, Machine, Reason, Value, shown};
use chainrule_nn::source::Stored;

pub(super) const MOST_ARGUMENTS: usize = 8;
const MOST_DIMENSIONS: usize = 64;
const LONGEST_KEY: u32 = 128;

/// Numbers that tensors look at.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::read) struct Storage {
    pub(in crate::read) key: String,
    /// `None`: bytes, whose meaning the tensor says.
    stored: Option<Stored>,
    /// How many elements it has.
    count: u64,
    /// A part of another: which, and from which element on. PyTorch wrote such before 0.4.
    pub(in crate::read) part_of: Option<(u32, u64)>,
}

impl Storage {
    /// Bytes of one element.
    pub(in crate::read) fn element_size(&self) -> u64 {
        self.stored.map_or(1, |s| s.size() as u64)
    }
    /// Bytes in all, if there can be so many.
    pub(in crate::read) fn size(&self) -> Option<u64> {
        self.count.checked_mul(self.element_size())
    }
}

/// A tensor: which elements of a storage, in which order.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::read) struct View {
    pub(in crate::read) storage: u32,
    pub(in crate::read) stored: Stored,
    /// In elements, like the strides.
    pub(in crate::read) offset: u64,
    pub(in crate::read) dims: Vec<usize>,
    pub(in crate::read) strides: Vec<usize>,
}

impl Machine<'_> {
    pub(super) fn call(&mut self, global: Global, arguments: Vec<Value>) -> Result<Value, Reason> {
        match (global, &arguments[..]) {
            (Global::OrderedDict, []) => Ok(Value::Dict(self.node(Vec::new()))),
            (Global::OrderedDict, &[Value::List(list)]) => self.dict_of(list),
            (Global::Size, &[Value::Tuple(extents)]) => Ok(Value::Tuple(extents)),
            (Global::Tensor, &[Value::Storage(storage), Value::Int(offset), Value::Tuple(dims), Value::Tuple(strides), ..]) => {
                let stored = self.storages.get(storage as usize).and_then(|s| s.stored);
                let stored = stored.ok_or("has a tensor on a storage of bytes that does not say its element type")?;
                self.view(storage, stored, offset, dims, strides)
            }
            (
                Global::TensorOfType,
                &[Value::Storage(storage), Value::Int(offset), Value::Tuple(dims), Value::Tuple(strides), _, _, Value::Global(Global::DType(stored)), ..],
            ) => self.view(storage, stored, offset, dims, strides),
            (Global::Parameter, &[Value::Tensor(tensor), ..]) => Ok(Value::Tensor(tensor)),
            (Global::Inert, _) => Ok(Value::Inert),
            _ => Err(format!("has a damaged pickle: {global:?} is called with arguments that it does not take")),
        }
    }

    /// `OrderedDict([(key, value), …])`, as Python 2 wrote it.
    fn dict_of(&mut self, list: u32) -> Result<Value, Reason> {
        let mut items = Vec::new();
        for &pair in self.items(list) {
            match pair {
                Value::List(pair) | Value::Tuple(pair) if self.items(pair).len() == 2 => items.extend_from_slice(self.items(pair)),
                _ => return Err("has a damaged pickle: an OrderedDict of what are no pairs".into()),
            }
        }
        // A list that is used once costs more bytes than it has values.
        self.copied += items.len();
        if self.copied > self.bytes.taken() {
            return Err("has a pickle that makes far more values than it holds".into());
        }
        Ok(Value::Dict(self.node(items)))
    }

    fn view(&mut self, storage: u32, stored: Stored, offset: i64, dims: u32, strides: u32) -> Result<Value, Reason> {
        let (dims, strides, offset) = (self.extents(dims)?, self.extents(strides)?, u64::try_from(offset));
        let of = &self.storages.get(storage as usize).ok_or("has a damaged pickle: a tensor without its storage")?;
        let fits = || {
            let offset = offset.ok()?;
            let (offset, end) = match last(&dims, &strides)? {
                Some(last) => (offset, offset.checked_add(last)?.checked_add(1)?),
                // Without elements it lies nowhere.
                None => (0, 0),
            };
            let bytes = end.checked_mul(stored.size() as u64)?;
            (dims.len() == strides.len() && bytes <= of.size()?).then_some(offset)
        };
        let Some(offset) = fits() else {
            let (key, size) = (shown(&of.key), of.size().unwrap_or(u64::MAX));
            return Err(format!(
                "has a tensor that lies outside its storage \"{key}\" of {size} bytes: offset {offset:?}, shape {dims:?}, strides {strides:?}"
            ));
        };
        self.held += dims.len() + strides.len();
        self.views.push(View { storage, stored, offset, dims, strides });
        Ok(Value::Tensor((self.views.len() - 1) as u32))
    }

    fn extents(&self, tuple: u32) -> Result<Vec<usize>, Reason> {
        let items = self.items(tuple);
        if items.len() > MOST_DIMENSIONS {
            return Err(format!("has a tensor of {} dimensions, expected at most {MOST_DIMENSIONS}", items.len()));
        }
        let extent = |&item: &Value| match item {
            Value::Int(n) => usize::try_from(n).map_err(|_| format!("has a tensor with the extent or stride {n}, expected at least 0")),
            other => Err(format!("has a tensor with {} as extent or stride", self.describe(other))),
        };
        items.iter().map(extent).collect()
    }

    /// The storage that a persistent id names: `("storage", class, key, location, elements)`, in the old format with a view or `None` behind.
    pub(super) fn storage(&mut self, id: Value) -> Result<u32, Reason> {
        let unknown = || "has a pickle with a persistent id that is no storage of PyTorch's".to_string();
        let Value::Tuple(id) = id else { return Err(unknown()) };
        let (parts, view) = match *self.items(id) {
            [word, class, key, location, count] | [word, class, key, location, count, Value::None] => ([word, class, key, location, count], None),
            [word, class, key, location, count, Value::Tuple(view)] => ([word, class, key, location, count], Some(view)),
            _ => return Err(unknown()),
        };
        let [Value::Text(word), Value::Global(Global::Storage(stored)), key, Value::Text(_), Value::Int(count)] = parts else { return Err(unknown()) };
        if !self.bytes.is(word, "storage") {
            return Err(unknown());
        }
        let root = self.known(key, stored, count, None)?;
        let Some(view) = view else { return Ok(root) };
        let &[key, Value::Int(offset), Value::Int(length)] = self.items(view) else { return Err(unknown()) };
        let inside = offset >= 0 && length >= 0 && offset.checked_add(length).is_some_and(|end| end <= count);
        if !inside {
            return Err(format!("has a storage of {length} elements from {offset} on in one of {count}"));
        }
        self.known(key, stored, length, Some((root, offset as u64)))
    }

    /// The storage of this key: the one that is known, or a new one.
    fn known(&mut self, key: Value, stored: Option<Stored>, count: i64, part_of: Option<(u32, u64)>) -> Result<u32, Reason> {
        let Ok(count) = u64::try_from(count) else { return Err(format!("has a storage of {count} elements")) };
        let key = match key {
            Value::Text(key) if key.length <= LONGEST_KEY => self.bytes.of(key).to_string(),
            Value::Int(key) => key.to_string(),
            _ => return Err("has a storage whose key is neither a short text nor an integer".into()),
        };
        let storage = Storage { key, stored, count, part_of };
        if let Some(&known) = self.storage_of.get(&storage.key) {
            return if self.storages.get(known as usize) == Some(&storage) {
                Ok(known)
            } else {
                Err(format!("has two different storages by the key \"{}\"", shown(&storage.key)))
            };
        }
        let index = self.storages.len() as u32;
        self.storage_of.insert(storage.key.clone(), index);
        self.storages.push(storage);
        Ok(index)
    }

    pub(super) fn describe(&self, value: Value) -> String {
        match value {
            Value::Text(text) => format!("the text \"{}\"", self.bytes.shown(text)),
            Value::Tuple(_) => "a tuple".into(),
            Value::List(_) => "a list".into(),
            Value::Dict(_) => "a dict".into(),
            Value::Tensor(_) => "a tensor".into(),
            Value::Inert => "a value that is no tensor".into(),
            other => format!("{other:?}"),
        }
    }
}

/// The place of the last element, counted from the first: `Some(None)` where there is none, `None` where it lies beyond all numbers.
pub(in crate::read) fn last(dims: &[usize], strides: &[usize]) -> Option<Option<u64>> {
    if dims.contains(&0) {
        return Some(None);
    }
    let step = |sum: u64, (&extent, &stride): (&usize, &usize)| (extent as u64 - 1).checked_mul(stride as u64).and_then(|s| sum.checked_add(s));
    dims.iter().zip(strides).try_fold(0, step).map(Some)
}
