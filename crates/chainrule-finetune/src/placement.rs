//! Where adapters stand: beside their layers, and all of them where the model goes.

use crate::Adapted;
use crate::adapted::State;
use crate::merge::Merged;
use crate::parts::Parts;
use chainrule_autograd::Device;
use chainrule_nn::{AnyAdapter, Module, Result, Site, buffers, to_device};

/// Where the weight of a layer stands, be it in the layer or in the adapter below.
pub(crate) fn of_weight(site: &Site, below: Option<&dyn AnyAdapter>) -> Device {
    let mut device = site.weight.value.device();
    if let Some(below) = below.filter(|below| below.holds_weight()) {
        buffers(below, |_, buffer| device = buffer.value.device());
    }
    device
}

/// Moves the model and all that waits aside to a device. All or nothing.
pub(crate) fn move_all<M: Module>(adapted: &mut Adapted<M>, device: &Device) -> Result<()> {
    let (mut members, mut state) = (adapted.members.clone(), adapted.state.clone());
    members.values_mut().try_for_each(|member| member.parts.to(device))?;
    state.to(device)?;
    to_device(&mut adapted.model, device)?;
    (adapted.members, adapted.state) = (members, state);
    Ok(())
}

impl State {
    /// Moves what is aside to a device. After an error some of it stands there.
    fn to(&mut self, device: &Device) -> Result<()> {
        match self {
            State::Base | State::Active(_) => Ok(()),
            State::Mixed(_, parts) => parts.to(device),
            State::Merged(of, layers) => {
                layers.iter_mut().try_for_each(|layer| layer.to(device))?;
                of.to(device)
            }
        }
    }
}

impl Parts {
    /// Moves all to a device. After an error some of it stands there.
    fn to(&mut self, device: &Device) -> Result<()> {
        self.slots.iter_mut().try_for_each(|(_, adapter)| to_device(adapter, device))?;
        self.params.iter_mut().try_for_each(|(_, param)| to_device(param, device))?;
        self.buffers.iter_mut().try_for_each(|(_, buffer)| to_device(buffer, device))?;
        self.prompts.iter_mut().try_for_each(|(_, prompt)| to_device(prompt, device))
    }
}

impl Merged {
    /// Moves what is aside to a device. After an error some of it stands there.
    fn to(&mut self, device: &Device) -> Result<()> {
        // A weight that the adapter holds is an empty place.
        if !self.adapter.as_ref().is_some_and(|adapter| adapter.holds_weight()) {
            to_device(&mut self.weight, device)?;
        }
        to_device(&mut self.bias, device)?;
        to_device(&mut self.adapter, device)
    }
}
