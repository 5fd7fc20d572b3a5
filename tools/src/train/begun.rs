//! What a training goes on from: the run folder of an earlier one, or a model package, as the shipped ones are.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use burn::tensor::Device;
use touchstone_models::package::{CARD_FILE, ModelPackage};

use super::encoder::{self, Student};
use super::oneprompt;
use super::run_folder::{RunFolder, RunState};
use crate::export::back;
use crate::net::NetConfig;
use crate::net::grow::Growth;
use crate::net::oneprompt::OnePromptNet;

/// Where a model comes from, for the cards of those that are made of it.
#[derive(Debug, Default)]
pub struct Lineage {
    /// Pictures, networks and commands, oldest first.
    pub sources: Vec<String>,
    /// What packages on the way say that they were trained on.
    pub trained_on: Vec<String>,
}

impl Lineage {
    /// That of a model that a run made.
    pub fn of_run(state: RunState) -> Lineage {
        let mut sources = state.sources;
        sources.push(state.command);
        Lineage { sources, trained_on: state.trained_on }
    }

    fn of_package(package: &ModelPackage) -> Lineage {
        let training = &package.card().training;
        Lineage { sources: training.commands.clone(), trained_on: training.sources.clone() }
    }

    /// Adds what `other` has and this has not.
    pub fn join(&mut self, other: Lineage) {
        let unheard = |known: &mut Vec<String>, more: Vec<String>| {
            for word in more {
                if !known.contains(&word) {
                    known.push(word);
                }
            }
        };
        unheard(&mut self.sources, other.sources);
        unheard(&mut self.trained_on, other.trained_on);
    }
}

/// A network with what is known of it.
#[derive(Debug)]
pub struct Begun<M> {
    /// Widths.
    pub net: NetConfig,
    /// Weights.
    pub model: M,
    /// Where they come from.
    pub lineage: Lineage,
}

impl<M> Begun<M> {
    fn grown_by(self, to: Option<NetConfig>, grow: impl FnOnce(&Growth, M) -> M) -> Result<Self> {
        let Some(net) = to.filter(|to| *to != self.net) else { return Ok(self) };
        let model = grow(&Growth::between(&self.net, &net)?, self.model);
        Ok(Begun { net, model, ..self })
    }
}

impl Begun<OnePromptNet> {
    /// As a larger member of the family, where one is named.
    ///
    /// # Errors
    /// It does not grow into that one.
    pub fn grown(self, to: Option<NetConfig>, device: &Device) -> Result<Self> {
        self.grown_by(to, |growth, model| growth.network(model, device))
    }
}

impl Begun<Student> {
    /// As a larger member of the family, where one is named. The readout that only distillation needs is a fresh one.
    ///
    /// # Errors
    /// It does not grow into that one.
    pub fn grown(self, to: Option<NetConfig>, device: &Device) -> Result<Self> {
        self.grown_by(to, |growth, Student { encoder, .. }| Student {
            encoder: growth.encoder(encoder, device),
            ..Student::new(growth.target(), device)
        })
    }
}

/// Opens a whole network. With `encoder_replaced` its encoder may be of an older form, and is then a fresh one.
///
/// # Errors
/// `from` is neither a package of the family nor a run of `train oneprompt` with an encoder of its own.
pub fn network(
    from: &Path,
    encoder_replaced: bool,
    device: &Device,
) -> Result<Begun<OnePromptNet>> {
    if let Some(package) = package(from)? {
        return of_package(&package, device);
    }
    let (folder, state) = RunFolder::open(from).map_err(|e| neither(from, &e))?;
    ensure!(
        state.stage == oneprompt::STAGE,
        "{}: not a `train oneprompt` run with an encoder of its own",
        from.display()
    );
    let (net, fresh) = (state.net, OnePromptNet::new(&state.net, device));
    let model = if encoder_replaced { folder.load_common(fresh)? } else { folder.load(fresh)? };
    Ok(Begun { net, model, lineage: Lineage::of_run(state) })
}

/// Opens the encoder alone, of a whole network too: every weight that fits is taken.
///
/// # Errors
/// `from` is neither a package of the family nor a training run.
pub fn student(from: &Path, device: &Device) -> Result<Begun<Student>> {
    if let Some(package) = package(from)? {
        let Begun { net, model, lineage } = of_package(&package, device)?;
        let model = Student { encoder: model.encoder, ..Student::new(&net, device) };
        return Ok(Begun { net, model, lineage });
    }
    let (folder, state) = RunFolder::open(from).map_err(|e| neither(from, &e))?;
    let (net, model) = (state.net, folder.load_common(Student::new(&state.net, device))?);
    Ok(Begun { net, model, lineage: Lineage::of_run(state) })
}

/// Opens a run of `train encoder`.
///
/// # Errors
/// `path` is another run, or none.
pub fn distilled(path: &Path, device: &Device) -> Result<Begun<Student>> {
    let (folder, state) = RunFolder::open(path)?;
    ensure!(
        state.stage == encoder::STAGE,
        "{}: neither a `train encoder` run nor an imported encoder",
        path.display()
    );
    let (net, model) = (state.net, folder.load(Student::new(&state.net, device))?);
    Ok(Begun { net, model, lineage: Lineage::of_run(state) })
}

fn package(from: &Path) -> Result<Option<ModelPackage>> {
    match from.join(CARD_FILE).exists() {
        true => Ok(Some(ModelPackage::open(from)?)),
        false => Ok(None),
    }
}

fn of_package(package: &ModelPackage, device: &Device) -> Result<Begun<OnePromptNet>> {
    let (net, model) = back::network(package, device)?;
    Ok(Begun { net, model, lineage: Lineage::of_package(package) })
}

fn neither(from: &Path, error: &anyhow::Error) -> anyhow::Error {
    anyhow!("{error}\n{} holds no {CARD_FILE} either, which a model package does", from.display())
}
