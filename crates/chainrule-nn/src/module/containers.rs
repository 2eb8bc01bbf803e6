//! Modules that the standard library's types are.

use super::{Module, Path, Visitor, VisitorMut};
use crate::{Buffer, Constant, Param};
use chainrule_autograd::{DType, Device, Rng, Shape};
use std::collections::BTreeMap;
use std::marker::PhantomData;

impl Module for Param {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        visitor.param(path.as_str(), self);
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        visitor.param(path.as_str(), self);
    }
}

impl Module for Buffer {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        visitor.buffer(path.as_str(), self);
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        visitor.buffer(path.as_str(), self);
    }
}

impl Module for Constant {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        visitor.constant(path.as_str(), &self.0);
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        visitor.constant(path.as_str(), &mut self.0);
    }
}

/// Plain values hold no parameters.
macro_rules! plain {
    ($([$($parameter:ident)?] $type:ty),* $(,)?) => { $(
        impl $(<$parameter: ?Sized>)? Module for $type {
            fn visit(&self, _: &mut Path, _: &mut dyn Visitor) {}
            fn visit_mut(&mut self, _: &mut Path, _: &mut dyn VisitorMut) {}
        }
    )* };
}
plain! {
    [] bool, [] char, [] String, [] &'static str, [] f32, [] f64, [] (), [T] PhantomData<T>,
    [] u8, [] u16, [] u32, [] u64, [] u128, [] usize, [] i8, [] i16, [] i32, [] i64, [] i128, [] isize,
    [] DType, [] Device, [] Shape, [] Rng,
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        (**self).visit(path, visitor);
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        (**self).visit_mut(path, visitor);
    }
}

impl<M: Module> Module for Option<M> {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        if let Some(module) = self {
            module.visit(path, visitor);
        }
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        if let Some(module) = self {
            module.visit_mut(path, visitor);
        }
    }
}

impl<M: Module> Module for [M] {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        for (i, module) in self.iter().enumerate() {
            path.within(i, |path| module.visit(path, visitor));
        }
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        for (i, module) in self.iter_mut().enumerate() {
            path.within(i, |path| module.visit_mut(path, visitor));
        }
    }
}

impl<M: Module> Module for Vec<M> {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        self.as_slice().visit(path, visitor);
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        self.as_mut_slice().visit_mut(path, visitor);
    }
}

impl<M: Module, const N: usize> Module for [M; N] {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        self.as_slice().visit(path, visitor);
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        self.as_mut_slice().visit_mut(path, visitor);
    }
}

/// By key, in the keys' order.
impl<M: Module> Module for BTreeMap<String, M> {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        for (name, module) in self {
            path.within(name, |path| module.visit(path, visitor));
        }
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        for (name, module) in self {
            path.within(name, |path| module.visit_mut(path, visitor));
        }
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),+))*) => { $(
        impl<$($name: Module),+> Module for ($($name,)+) {
            fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
                $(path.within($index, |path| self.$index.visit(path, visitor));)+
            }
            fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
                $(path.within($index, |path| self.$index.visit_mut(path, visitor));)+
            }
        }
    )* };
}
tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}
