//! A compiler process: what [`symbolon_executor::modules::compiler_main`] says.

use std::process::ExitCode;

fn main() -> ExitCode {
    symbolon_executor::modules::compiler_main()
}
