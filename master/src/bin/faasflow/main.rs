//! The `faasflow` program: what people and scripts say to FaaSFlow.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 the work failed, 2 what was
//! asked for, or its input, is wrong (then nothing was started). The work itself is the library's.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod drawing;
mod exit;
mod explained;
mod importing;
mod inputs;
mod interrupt;
mod invoking;
mod links;
mod load;
mod memory;
mod new;
mod outputs;
mod placed;
mod placing;
mod print;
mod profile;
mod progress;
mod reads;
mod rebalance;
mod recorded;
mod replicas;
mod status;
mod targets;
mod validate;
mod workers;

use arguments::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    master::diagnostics::run("faasflow", || {
        let arguments = Arguments::parse();
        let done = match &arguments.command {
            Command::Validate(of) => validate::validate(of),
            Command::Import(of) => importing::import(of),
            Command::Schema => commands::schema(),
            Command::Plan(of) => commands::plan(of),
            Command::Graph(of) => drawing::graph(of),
            Command::Deploy(of) => commands::deploy(of),
            Command::Invoke(of) => invoking::invoke(of),
            Command::Status(of) => commands::status(of),
            Command::Links(of) => links::links(of),
            Command::Profile(of) => profile::profile(of),
            Command::Rebalance(of) => rebalance::rebalance(of),
            Command::Undeploy(of) => commands::undeploy(of),
            Command::Run(of) => invoking::run(of),
            Command::New(of) => new::new(of),
            Command::Completion(of) => commands::completion(of),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(exit) => exit.report(arguments.command.is_json()),
        }
    })
}
