//! Tells the linker where `memory.x` is.

fn main() {
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rustc-link-search={}", std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    for script in ["-Tmemory.x", "-Tlink.x"] {
        println!("cargo:rustc-link-arg={script}");
    }
}
