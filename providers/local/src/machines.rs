//! Makes, shows and deletes machines: the provider's work in the order in which a crash at any point loses nothing.
//! Blocking; called by `provider` off the async threads.
//!
//! Promised is not started: a token's file and the machine's folder are written under the ledger's lock, QEMU is
//! started under the machine's. A create that was interrupted in between is carried on by the next one with the same
//! token. A machine is started once in its life: its console file is the mark.

use std::io;
use std::time::Duration;

use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::ResourceHandle;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::resource::PAGE_MAX_ITEMS;
use isobar_engine_provider::{
    ConsoleChunk, CreateResource, Created, Listing, MachineRequest, Owner, Page, ProviderError, ResourceState,
    ResourceStatus, Result, Site,
};

use crate::config::{LocalConfig, Shape};
use crate::console;
use crate::image::Image;
use crate::ledger::{Ledger, Promise, PromiseState, Record, request_hash};
use crate::offers;
use crate::place::Place;
use crate::ports::{self, HOST};
use crate::process::Process;
use crate::processor::ProcessorProbe;
use crate::qemu::{self, Start, StartError};

/// A token counts for so long after its machine was deleted, in ms: a day.
pub(crate) const TOKEN_VALIDITY_MS: u64 = 24 * 3600 * 1000;
/// A start whose ports were taken is tried so often with others.
const PORT_TRIES_MAX: u32 = 8;
/// A create that finds its machine just undone begins again so often.
const CREATE_TRIES_MAX: u32 = 8;
/// A killed process ends within this time, or the deletion is asked for again.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// All machines of one data folder.
#[derive(Debug)]
pub(crate) struct Machines {
    config: LocalConfig,
    ledger: Ledger,
    probe: ProcessorProbe,
}

/// What a promise comes to.
enum Promised {
    /// The machine is to be started, unless it was.
    Machine(Box<Record>),
    /// It was deleted: nothing is to be done, and nothing ever will be.
    Deleted,
}

/// What a start comes to.
enum Started {
    /// It runs, or did.
    Once,
    /// Another caller undid the promise meanwhile.
    Undone,
}

impl Machines {
    pub(crate) fn open(config: LocalConfig) -> io::Result<Self> {
        let ledger = Ledger::open(&config.data)?;
        Ok(Self {
            config,
            ledger,
            probe: ProcessorProbe::default(),
        })
    }

    pub(crate) fn config(&self) -> &LocalConfig {
        &self.config
    }

    pub(crate) fn catalog(&self, site: &Site, now: Timestamp) -> Result<SiteCatalog> {
        let left = self.memory_left_mib().map_err(disk)?;
        Ok(offers::catalog(&self.config, site, self.image()?.id, now, left))
    }

    pub(crate) fn create(&self, request: &CreateResource, now: Timestamp) -> Result<Created> {
        let place = Place::new(&request.site.region, &request.name).ok_or_else(|| ProviderError::InvalidSpec {
            message: format!(
                "`{}` in `{}` cannot name a machine's folder",
                request.name, request.site.region
            ),
        })?;
        let created = Created {
            handle: ResourceHandle::new(&place.name),
        };
        for _ in 0..CREATE_TRIES_MAX {
            match self.promise(request, &place, now)? {
                Promised::Deleted => return Ok(created),
                Promised::Machine(record) => match self.start_once(&record, &place)? {
                    Started::Once => return Ok(created),
                    Started::Undone => {}
                },
            }
        }
        Err(ProviderError::OutcomeUnknown {
            message: format!("`{}` is made and undone by others", place.name),
        })
    }

    pub(crate) fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        let place = Place::new(&site.region, handle.as_str()).ok_or(ProviderError::NotFound)?;
        let record = self
            .ledger
            .machine(&place)
            .map_err(disk)?
            .ok_or(ProviderError::NotFound)?;
        self.state(&place, record)
    }

    pub(crate) fn list(&self, site: &Site, owner: &Owner, page: Option<&Page>) -> Result<Listing> {
        let mut items = Vec::new();
        for place in self.ledger.machines(&site.region).map_err(disk)? {
            if page.is_some_and(|Page(last)| place.name <= *last) {
                continue;
            }
            let Some(record) = self.ledger.machine(&place).map_err(disk)? else {
                continue;
            };
            if record.request.tags.owner != *owner {
                continue;
            }
            if items.len() == PAGE_MAX_ITEMS {
                let next = items
                    .last()
                    .map(|last: &ResourceState| Page(last.handle.as_str().to_owned()));
                return Ok(Listing { items, next });
            }
            items.push(self.state(&place, record)?);
        }
        Ok(Listing { items, next: None })
    }

    pub(crate) fn delete(&self, site: &Site, handle: &ResourceHandle, now: Timestamp) -> Result<()> {
        let place = Place::new(&site.region, handle.as_str()).ok_or(ProviderError::NotFound)?;
        let Some(_held) = self.ledger.lock_machine(&place).map_err(disk)? else {
            return Err(ProviderError::NotFound);
        };
        if let Some(record) = self.ledger.machine(&place).map_err(disk)? {
            let deleted = Promise {
                place: place.clone(),
                request_sha256: request_hash(&record.request),
                state: PromiseState::Deleted { at: now },
            };
            self.ledger
                .write_promise(&record.request.token, &deleted)
                .map_err(disk)?;
        }
        for process in Process::search(&self.ledger.pid_file(&place)).map_err(disk)? {
            let killed = process.kill(KILL_PATIENCE);
            if !killed.map_err(|e| ProviderError::OutcomeUnknown {
                message: format!("kill its process: {e}"),
            })? {
                return Ok(());
            }
        }
        self.ledger.remove_machine(&place).map_err(disk)
    }

    pub(crate) fn console(&self, site: &Site, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk> {
        let place = Place::new(&site.region, handle.as_str()).ok_or(ProviderError::NotFound)?;
        if self.ledger.machine(&place).map_err(disk)?.is_none() {
            return Err(ProviderError::NotFound);
        }
        match console::read(&self.ledger.console_file(&place), offset) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ConsoleChunk {
                bytes: Vec::new(),
                next_offset: offset,
            }),
            read => read.map_err(disk),
        }
    }

    /// Writes down what is to exist, unless that was done.
    fn promise(&self, request: &CreateResource, place: &Place, now: Timestamp) -> Result<Promised> {
        let _held = self.ledger.lock().map_err(disk)?;
        let conflict = |message: &str| {
            Err(ProviderError::Conflict {
                message: message.to_owned(),
            })
        };
        let request_sha256 = request_hash(request);
        let known = self.ledger.promise(&request.token).map_err(disk)?;
        let there = self.ledger.machine(place).map_err(disk)?;
        match (&known, there) {
            (Some(known), _) if known.request_sha256 != request_sha256 => {
                return conflict("the token was used for another request");
            }
            (
                Some(Promise {
                    state: PromiseState::Deleted { .. },
                    ..
                }),
                _,
            ) => return Ok(Promised::Deleted),
            (Some(_), Some(record)) => return Ok(Promised::Machine(Box::new(record))),
            (None, Some(_)) => return conflict(&format!("there is a machine `{}` of another token", place.name)),
            (_, None) => {}
        }
        let machine = request.spec.machine()?;
        let shape = offers::check(&self.config, &request.site, machine)?;
        self.bootable(machine)?;
        self.check_capacity(shape)?;
        self.ledger
            .forget_deleted(Timestamp(now.0.saturating_sub(TOKEN_VALIDITY_MS)))
            .map_err(disk)?;
        let record = Record {
            request: request.clone(),
            created: now,
        };
        let promise = Promise {
            place: place.clone(),
            request_sha256,
            state: PromiseState::Kept,
        };
        self.ledger.write_promise(&request.token, &promise).map_err(disk)?;
        self.ledger.write_machine(place, &record).map_err(disk)?;
        Ok(Promised::Machine(Box::new(record)))
    }

    /// Starts the machine unless it was started. What cannot be started is taken back: then nothing was made.
    fn start_once(&self, record: &Record, place: &Place) -> Result<Started> {
        let Some(_held) = self.ledger.lock_machine(place).map_err(disk)? else {
            return Ok(Started::Undone);
        };
        let token = &record.request.token;
        let kept = self
            .ledger
            .promise(token)
            .map_err(disk)?
            .is_some_and(|p| p.state == PromiseState::Kept);
        if !kept {
            return Ok(Started::Undone);
        }
        let started = self.ledger.console_file(place).try_exists().map_err(disk)?
            || !Process::search(&self.ledger.pid_file(place)).map_err(disk)?.is_empty();
        if started {
            return Ok(Started::Once);
        }
        let failed = match self.start(record, place) {
            Ok(()) => return Ok(Started::Once),
            Err(failed) => failed,
        };
        let taken_back = self
            .ledger
            .remove_machine(place)
            .and_then(|()| self.ledger.forget_promise(token));
        taken_back.map_err(|error| ProviderError::OutcomeUnknown {
            message: format!("{failed}, and its folder could not be removed: {error}"),
        })?;
        Err(failed)
    }

    fn start(&self, record: &Record, place: &Place) -> Result<()> {
        let machine = record.request.spec.machine()?;
        let shape = offers::check(&self.config, &record.request.site, machine)?;
        let image = self.bootable(machine)?;
        let processor = self
            .probe
            .processor(self.config.acceleration, &self.config.qemu, &image);
        let (first, last) = machine.open_ports;
        for _ in 0..PORT_TRIES_MAX {
            let start = Start {
                qemu: &self.config.qemu,
                processor,
                board: self.probe.board(),
                name: &place.name,
                image: &image,
                cpus: shape.cpus,
                memory_mib: shape.memory.0,
                forwards: &ports::pick(first..=last).map_err(disk)?,
                identity: self.ledger.identity_file(place),
                console: self.ledger.console_file(place),
                pid_file: self.ledger.pid_file(place),
            };
            match qemu::start(&start) {
                Ok(()) | Err(StartError::Running) => {
                    tracing::info!(machine = %place.name, region = %place.region, "machine started");
                    return Ok(());
                }
                Err(StartError::PortTaken) => tracing::debug!(machine = %place.name, "picking other ports"),
                Err(error) => return Err(start_failure(&error)),
            }
        }
        Err(ProviderError::Unavailable {
            message: format!("{PORT_TRIES_MAX} times a free port of {HOST} was taken before qemu could listen on it"),
        })
    }

    fn state(&self, place: &Place, record: Record) -> Result<ResourceState> {
        let console = self.ledger.console_file(place);
        let mut forwards = ports::Forwards::new();
        let promise = self.ledger.promise(&record.request.token).map_err(disk)?;
        let status = if promise.is_some_and(|p| p.state != PromiseState::Kept) {
            ResourceStatus::Deleting
        } else if let Some(process) = Process::find(&self.ledger.pid_file(place)) {
            forwards = process.forwards();
            console::bound(&console).or_else(absent).map_err(disk)?;
            ResourceStatus::Running
        } else if console.try_exists().map_err(disk)? {
            ResourceStatus::Stopped {
                reason: console::ending(&console),
            }
        } else {
            ResourceStatus::Pending
        };
        let machine = record.request.spec.machine()?;
        Ok(ResourceState {
            handle: ResourceHandle::new(&place.name),
            offering: Some(machine.offering.clone()),
            name: record.request.name,
            tags: Some(record.request.tags),
            status,
            endpoints: forwards
                .into_iter()
                .map(|(guest, host)| (guest, format!("{HOST}:{host}")))
                .collect(),
            created: record.created,
        })
    }

    fn image(&self) -> Result<Image> {
        Image::read(&self.config.image).map_err(|error| ProviderError::Unavailable {
            message: error.to_string(),
        })
    }

    /// The image, if it is the one that is asked for.
    fn bootable(&self, machine: &MachineRequest) -> Result<Image> {
        let image = self.image()?;
        if image.id == machine.image {
            return Ok(image);
        }
        Err(ProviderError::InvalidSpec {
            message: format!(
                "there is no image `{}`: {} holds `{}`",
                machine.image,
                self.config.image.display(),
                image.id
            ),
        })
    }

    fn check_capacity(&self, shape: &Shape) -> Result<()> {
        let left = self.memory_left_mib().map_err(disk)?;
        if shape.memory.0 <= left {
            return Ok(());
        }
        Err(ProviderError::InsufficientCapacity {
            message: format!(
                "`{}` has {}, and local machines may only have {left}MiB more, of {} in all",
                shape.name, shape.memory, self.config.memory_max
            ),
        })
    }

    /// What machines may still have. A machine counts from its promise to its deletion.
    fn memory_left_mib(&self) -> io::Result<u32> {
        let mut left = self.config.memory_max.0;
        for place in self.ledger.all_machines()? {
            let Some(record) = self.ledger.machine(&place)? else {
                continue;
            };
            let machine = record.request.spec.machine().map_err(io::Error::other)?;
            let shape = self
                .config
                .shapes
                .iter()
                .find(|shape| shape.name == machine.offering.as_str());
            left = left.saturating_sub(shape.map_or(0, |shape| shape.memory.0));
        }
        Ok(left)
    }
}

/// The folder of the machines cannot be used: nothing was done.
fn disk(error: io::Error) -> ProviderError {
    ProviderError::Unavailable {
        message: format!("the folder of the local machines: {error}"),
    }
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

fn start_failure(error: &StartError) -> ProviderError {
    let message = match error {
        StartError::Run(cause) => format!("{error}: {cause}"),
        StartError::NotInstalled(_)
        | StartError::PortTaken
        | StartError::Running
        | StartError::NoMemory(_)
        | StartError::Silent
        | StartError::Refused(_) => error.to_string(),
    };
    match error {
        StartError::NoMemory(_) => ProviderError::InsufficientCapacity { message },
        StartError::Refused(_) => ProviderError::Unexpected { message },
        StartError::NotInstalled(_)
        | StartError::PortTaken
        | StartError::Running
        | StartError::Silent
        | StartError::Run(_) => ProviderError::Unavailable { message },
    }
}
