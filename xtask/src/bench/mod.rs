use clap::Args;
#[derive(Args)]
pub(crate) struct Options {}
pub(crate) fn run(_: &crate::workspace::Workspace, _: &Options) -> anyhow::Result<()> {
    Ok(())
}
