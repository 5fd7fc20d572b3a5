//! `touchstone-tools train proto`: features, training of every learner, figures, report.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::ProgressBar;

use super::closed::ClosedForm;
use super::compute::{self, Wanted};
use super::episode::{Counts, Episode, one_each};
use super::features::FeatureSet;
use super::head::Shape;
use super::inner::{Inner, Order};
use super::judge::{Scored, figures};
use super::learner::{Kind, Learner};
use super::methods::{Method, Scorer, Task, tasks};
use super::moments::Standard;
use super::outer::{self, Setting, Trained};
use super::real::{self, RealCategory};
use super::report::{self, MethodRow, RealRow, Report};
use crate::synth::Library;
use crate::train::run_folder::{RunFolder, command_line};
use crate::{parallel, progress};

/// The features' file in the run folder.
const FEATURES: &str = "features.safetensors";
/// Seeds of validation and test episodes, apart from training's.
const VALIDATION_SEED: u64 = 0x5641_4c49;
/// See [`VALIDATION_SEED`].
const TEST_SEED: u64 = 0x5445_5354;

/// `touchstone-tools train proto`
#[derive(Debug, Clone, Args)]
pub struct ProtoArgs {
    /// Folder of pictures (a flat folder, or images/ objects/ textures/) that products are made of.
    #[arg(long, required_unless_present = "features")]
    pub pictures: Option<PathBuf>,
    /// Features of an earlier run instead of pictures.
    #[arg(long, conflicts_with = "pictures")]
    pub features: Option<PathBuf>,
    /// Model package whose pooled features are learned on: a name or a folder.
    #[arg(long, default_value = touchstone_models::package::DEFAULT_MODEL)]
    pub model: String,
    /// Run folder: features, heads, figures, report.
    #[arg(long)]
    pub out: PathBuf,
    /// Training products; half as many for the test, a quarter for validation.
    #[arg(long, default_value_t = 240)]
    pub products: usize,
    /// Training episodes of each learner.
    #[arg(long, default_value_t = 4000)]
    pub episodes: usize,
    /// Episodes per outer step.
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// Good parts taught per episode.
    #[arg(long, default_value_t = 5)]
    pub shots: usize,
    /// Length of the embedding.
    #[arg(long, default_value_t = 64)]
    pub dim: usize,
    /// Gradients of the learners that are trained in one order only (contrastive, Proto-MAML, MAML).
    #[arg(long, value_enum, default_value = "second")]
    pub order: Order,
    /// Weight of the supervised contrastive regulariser in the row that has it; 0 leaves the row out.
    #[arg(long, default_value_t = 0.1)]
    pub contrast: f64,
    /// Steps of the inner loop.
    #[arg(long, default_value_t = 1)]
    pub inner_steps: usize,
    /// Rate of the inner loop.
    #[arg(long, default_value_t = 5e-4)]
    pub inner_lr: f64,
    /// Peak rate of the outer loop.
    #[arg(long, default_value_t = 3e-3)]
    pub lr: f64,
    /// Seed of products, start values and episodes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Also measure on real pictures in the MVTec AD layout, with --shots enrolment pictures each.
    #[arg(long)]
    pub eval: Option<PathBuf>,
    /// Figures as JSON lines on stdout instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl ProtoArgs {
    fn check(&self) -> Result<()> {
        ensure!((2..=64).contains(&self.shots), "--shots {}: give 2 to 64", self.shots);
        ensure!((2..=1024).contains(&self.dim), "--dim {}: give 2 to 1024", self.dim);
        ensure!(self.batch > 0 && self.episodes >= self.batch, "--episodes: at least one --batch");
        ensure!(self.inner_steps <= 64, "--inner-steps {}: at most 64", self.inner_steps);
        for (name, value) in
            [("--lr", self.lr), ("--inner-lr", self.inner_lr), ("--contrast", self.contrast)]
        {
            ensure!(value.is_finite() && value >= 0.0, "{name} {value}: give a number from 0 up");
        }
        Ok(())
    }

    fn inner(&self) -> Inner {
        Inner { steps: self.inner_steps, rate: self.inner_lr }
    }
}

/// Runs the comparison.
///
/// # Errors
/// Wrong arguments, pictures or features that cannot be read, a finished run in `--out`, a loss that
/// is no number.
pub fn run(args: &ProtoArgs) -> Result<()> {
    args.check()?;
    let folder = RunFolder::create(&args.out, false)?;
    ensure!(
        !folder.path(report::FIGURES).exists(),
        "{} holds a finished run; name another folder, and give --features {} to spare the encoder",
        args.out.display(),
        folder.path(FEATURES).display()
    );
    let set = features(args, &folder)?;
    let standard = set.moments().standard()?;
    let real = match &args.eval {
        Some(root) => real::read(root, args.shots, &mut compute::open(&args.model)?)?,
        None => Vec::new(),
    };
    for category in &real {
        ensure!(
            category.support[0].len() == set.inputs,
            "--model {} gives {} features, those of the run have {}",
            args.model,
            category.support[0].len(),
            set.inputs
        );
    }
    let measuring = Counts::measuring(args.shots);
    let validation = one_each(&set.validation, measuring, &standard, VALIDATION_SEED)?;
    let trained = train_all(args, &set, &standard, &validation)?;
    let methods = methods(args, &set, &standard, &trained)?;
    let identity = Standard::identity(set.inputs);
    let test = tasks(
        one_each(&set.test, measuring, &identity, TEST_SEED)?,
        one_each(&set.test, measuring, &standard, TEST_SEED)?,
    )?;
    let rows = measure(&methods, &test)?;
    let real_rows = measure_real(&methods, &real, &standard)?;
    let report = Report {
        command: command_line(),
        origin: set.origin.clone(),
        products: [set.train.len(), set.validation.len(), set.test.len()],
        episodes: test.len(),
        queries: test.iter().map(|t| t.standard.queries.len()).sum(),
        shots: args.shots,
        rows,
        real: real_rows,
        curves: trained.iter().map(|(plan, t)| (plan.name.clone(), t.history.clone())).collect(),
    };
    report::save_heads(&folder, &methods, &standard)?;
    report::write(&folder, &report)?;
    if args.json {
        report.json_lines()?.iter().for_each(|line| println!("{line}"));
    } else {
        print!("{}", report.table());
        println!("\nrun: {}", args.out.display());
    }
    Ok(())
}

/// The features of `--features`, of an interrupted run in `--out`, or computed anew.
fn features(args: &ProtoArgs, folder: &RunFolder) -> Result<FeatureSet> {
    if let Some(path) = &args.features {
        return FeatureSet::read(path);
    }
    let pictures = args.pictures.as_ref().context("--pictures or --features is needed")?;
    let wanted = Wanted { model: &args.model, products: args.products, seed: args.seed };
    let origin = wanted.origin(&pictures.display().to_string())?;
    let path = folder.path(FEATURES);
    if path.exists() {
        let set = FeatureSet::read(&path)?;
        ensure!(
            set.origin == origin,
            "{}: made of {}, not of {origin}; name another folder",
            path.display(),
            set.origin
        );
        return Ok(set);
    }
    let library = Library::open(pictures, progress::decoding())?;
    let set = compute::compute(library, &wanted, origin)?;
    set.write(&path)?;
    Ok(set)
}

/// One training.
#[derive(Debug, Clone)]
struct Plan {
    name: String,
    kind: Kind,
    order: Order,
    contrast: f64,
}

fn plans(args: &ProtoArgs) -> Vec<Plan> {
    let plan =
        |name: &str, kind, order, contrast| Plan { name: name.into(), kind, order, contrast };
    let order = args.order;
    let word = if order == Order::First { "first" } else { "second" };
    let mut plans = vec![
        plan("Bayesian Proto-MAML, first order", Kind::Bayes, Order::First, 0.0),
        plan("Bayesian Proto-MAML, second order", Kind::Bayes, Order::Second, 0.0),
    ];
    if args.contrast > 0.0 {
        let name = format!("Bayesian Proto-MAML, {word} order, contrastive");
        plans.push(plan(&name, Kind::Bayes, order, args.contrast));
    }
    plans.push(plan(&format!("Proto-MAML, {word} order"), Kind::Proto, order, 0.0));
    plans.push(plan(&format!("MAML, {word} order"), Kind::Maml, order, 0.0));
    plans
}

/// Trains every learner, on all cores; the same whatever their number.
fn train_all(
    args: &ProtoArgs,
    set: &FeatureSet,
    standard: &Standard,
    validation: &[Episode],
) -> Result<Vec<(Plan, Trained)>> {
    let plans = plans(args);
    let bar = progress::bar((plans.len() * args.episodes) as u64, "episodes");
    let trained = parallel::map(
        plans.len(),
        parallel::cores(),
        || Ok(()),
        |(), number| {
            let plan = &plans[number];
            train_one(args, plan, set, (standard, validation), &bar)
                .with_context(|| plan.name.clone())
        },
    );
    bar.finish_and_clear();
    Ok(plans.into_iter().zip(trained?).collect())
}

fn train_one(
    args: &ProtoArgs,
    plan: &Plan,
    set: &FeatureSet,
    (standard, validation): (&Standard, &[Episode]),
    bar: &ProgressBar,
) -> Result<Trained> {
    let shape = Shape { inputs: set.inputs, outputs: args.dim };
    let learner = Learner::new(plan.kind, shape, args.shots)?;
    let begin = outer::start(&learner, &set.train, standard, args.shots, args.seed)?;
    let setting = Setting {
        episodes: args.episodes,
        batch: args.batch,
        shots: args.shots,
        rate: args.lr,
        inner: args.inner(),
        order: plan.order,
        contrast: plan.contrast,
        seed: args.seed,
    };
    outer::train(&learner, begin, (&set.train, standard), validation, &setting, bar)
}

/// All methods, the one that others are compared with first.
fn methods(
    args: &ProtoArgs,
    set: &FeatureSet,
    standard: &Standard,
    trained: &[(Plan, Trained)],
) -> Result<Vec<Method>> {
    let shape = Shape { inputs: set.inputs, outputs: args.dim };
    let bayes = Learner::new(Kind::Bayes, shape, args.shots)?;
    let untrained = outer::start(&bayes, &set.train, standard, args.shots, args.seed)?;
    let still = Inner { steps: 0, ..args.inner() };
    let learned = |learner: &Learner, parameters: &[f64], inner| Scorer::Learned {
        learner: learner.clone(),
        parameters: parameters.to_vec(),
        inner,
    };
    let method = |name: &str, scorer| Method { name: name.into(), scorer };
    let fixed = ClosedForm::isotropic(set.inputs, &set.train)?;
    let prior = ClosedForm::learned(set.inputs, &set.train)?;
    let mut methods = vec![
        method("closed form, pooled features", Scorer::Closed(fixed)),
        method("closed form, learned prior", Scorer::Closed(prior)),
        method("closed form, untrained head", learned(&bayes, &untrained, still)),
        method("untrained head, adapted", learned(&bayes, &untrained, args.inner())),
    ];
    for (plan, result) in trained {
        let learner = Learner::new(plan.kind, shape, args.shots)?;
        let parameters = &result.parameters;
        methods.push(method(&plan.name, learned(&learner, parameters, args.inner())));
        if plan.kind == Kind::Bayes && plan.contrast == 0.0 {
            let name = format!("{}, not adapted", plan.name);
            methods.push(method(&name, learned(&learner, parameters, still)));
        }
    }
    Ok(methods)
}

fn measure(methods: &[Method], test: &[Task]) -> Result<Vec<MethodRow>> {
    let mut rows: Vec<MethodRow> = Vec::new();
    let mut reference: Vec<Scored> = Vec::new();
    for (number, method) in methods.iter().enumerate() {
        let scored = test.iter().map(|t| method.score(t)).collect::<Result<Vec<_>>>()?;
        if number == 0 {
            reference.clone_from(&scored);
        }
        let figures = figures(&scored, &reference).with_context(|| method.name.clone())?;
        rows.push(MethodRow { name: method.name.clone(), figures });
    }
    Ok(rows)
}

fn measure_real(
    methods: &[Method],
    categories: &[RealCategory],
    standard: &Standard,
) -> Result<Vec<RealRow>> {
    let mut rows = Vec::new();
    for category in categories {
        let identity = Standard::identity(standard.mean.len());
        let task = Task { raw: category.episode(&identity), standard: category.episode(standard) };
        for method in methods {
            let scored = method.score(&task).with_context(|| category.name.clone())?;
            let [auroc, ap] = real::estimates(&category.name, &scored)?;
            rows.push(RealRow {
                category: category.name.clone(),
                method: method.name.clone(),
                auroc,
                ap,
            });
        }
    }
    Ok(rows)
}
