//! Links the programs of the suite so that they run at a fixed address. The pipeline under test is one of them, and a
//! sweep starts it ten thousand times: to relocate it, and to write to the pages of that, took a tenth of a sweep.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |variable: &str| std::env::var(variable).unwrap_or_default();
    // The start files of other targets, such as those of musl, are for programs that can be moved.
    if (target("CARGO_CFG_TARGET_OS"), target("CARGO_CFG_TARGET_ENV")) == ("linux".to_owned(), "gnu".to_owned()) {
        println!("cargo::rustc-link-arg-bins=-no-pie");
        println!("cargo::rustc-link-arg-tests=-no-pie");
    }
}
