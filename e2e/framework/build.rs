//! Compiles the library that shifts the clock of a pipeline, which the schedule `clock` loads into it. It has to be a
//! library of its own, and Cargo has no way to make one within a package.

use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "clock/clock.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let library = PathBuf::from(variable("OUT_DIR")).join("clock.so");
    // The functions that it replaces are those of the GNU C library.
    let is_there = variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    if !is_there {
        std::fs::write(&library, []).expect("Cargo's folder for what a build script makes can be written");
        return;
    }
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--crate-name", "clock", "--crate-type", "cdylib", "--edition", "2024", "-O", SOURCE]);
    rustc.args(["-C", "panic=abort", "-C", "strip=symbols", "--target", &variable("TARGET")]);
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    rustc.arg("-o").arg(&library);
    let status = rustc.status().expect("Cargo names the compiler");
    assert!(status.success(), "{SOURCE} does not compile: {rustc:?} ended with {status}");
}
