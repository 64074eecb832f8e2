//! `without-io-uring PROGRAM [ARGUMENT...]`: runs a program in this process's place, under a seccomp filter that refuses
//! io_uring as Docker's default profile does. Whoever it starts is under it too.
#![allow(
    unsafe_code,
    reason = "no safe interface to seccomp is among the dependencies; this is a test's own program"
)]

use nix::libc;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// One instruction of the kernel's packet filter machine.
const fn instruction(code: u32, if_true: u8, if_false: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: if_true,
        jf: if_false,
        k: value,
    }
}

fn refuse_io_uring() -> std::io::Result<()> {
    // The number of the system call comes first in what a filter sees (`struct seccomp_data`).
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // Without it only root may set a filter.
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY: `filter` and the instructions that it points to live until the call returns, which copies them.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER as libc::c_ulong,
            &raw const filter,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: without-io-uring PROGRAM [ARGUMENT...]");
        return ExitCode::from(2);
    };
    if let Err(error) = refuse_io_uring() {
        eprintln!("without-io-uring: the kernel takes no seccomp filter: {error}");
        return ExitCode::FAILURE;
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("without-io-uring: {}: {error}", program.display());
    ExitCode::FAILURE
}
