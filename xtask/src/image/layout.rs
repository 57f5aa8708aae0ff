//! The image layout: blobs by their digests, manifests, an index of platforms, in one tar file.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, DescriptorBuilder, Digest as OciDigest, HistoryBuilder,
    ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType, Os, PlatformBuilder,
    RootFsBuilder, SCHEMA_VERSION,
};
use sha2::{Digest as _, Sha256};

use super::files::{Files, SENSOR, header};

/// Where metrics, probes and `/status` are.
const PORT: &str = "9464/tcp";
/// The image's name in annotations of the layout.
const NAME: &str = "lionpay-sensor";

/// Writes the archive, atomically; the digest of the index that it holds.
pub(super) fn write(output: &Path, files: &Files, time: u64) -> Result<String> {
    let (bytes, digest) = archive(files, time)?;
    let directory = output.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&bytes)?;
        file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(output).map_err(|error| error.error)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", output.display()))?;
    Ok(digest)
}

fn archive(files: &Files, time: u64) -> Result<(Vec<u8>, String)> {
    let mut blobs = Blobs::default();
    let manifest = manifest(&mut blobs, files, time)?;
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests([manifest])
        .build()?;
    let mut index = blobs.add(MediaType::ImageIndex, index.to_string()?.into_bytes())?;
    let digest = index.digest().to_string();
    let version = env!("CARGO_PKG_VERSION");
    let annotations = [
        ("org.opencontainers.image.ref.name", version.to_owned()),
        ("io.containerd.image.name", format!("docker.io/library/{NAME}:{version}")),
    ];
    index.set_annotations(Some(annotations.map(|(key, value)| (key.to_owned(), value)).into()));
    let top = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests([index])
        .build()?;

    let mut entries = blobs.0;
    entries.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    entries.push(("index.json".to_owned(), sorted(&top.to_string()?)?));
    entries.sort();
    entries.dedup();
    let mut tar = tar::Builder::new(Vec::new());
    for directory in ["blobs", "blobs/sha256"] {
        let mut header = header(tar::EntryType::Directory, 0o755, 0, time);
        tar.append_data(&mut header, directory, std::io::empty())?;
    }
    for (path, bytes) in &entries {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64, time);
        tar.append_data(&mut header, path, bytes.as_slice())?;
    }
    Ok((tar.into_inner().context("cannot write the archive")?, digest))
}

/// Adds this machine's platform: its layer, configuration and manifest.
fn manifest(blobs: &mut Blobs, files: &Files, time: u64) -> Result<Descriptor> {
    let layer = files.layer(time)?;
    let diff = format!("sha256:{}", hex(&layer));
    let layer = blobs.add(MediaType::ImageLayerGzip, compressed(&layer)?)?;
    let created = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time)).to_string();
    let config = ImageConfigurationBuilder::default()
        .created(created.clone())
        .architecture(Arch::default())
        .os(Os::Linux)
        .config(
            ConfigBuilder::default()
                .entrypoint([SENSOR.to_owned()])
                .working_dir("/")
                .exposed_ports([PORT.to_owned()])
                .build()?,
        )
        .rootfs(RootFsBuilder::default().typ("layers").diff_ids([diff]).build()?)
        .history([HistoryBuilder::default().created(created).created_by("cargo xtask image").build()?])
        .build()?;
    let config = blobs.add(MediaType::ImageConfig, sorted(&config.to_string()?)?)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers([layer])
        .build()?;
    let mut descriptor = blobs.add(MediaType::ImageManifest, manifest.to_string()?.into_bytes())?;
    let platform = PlatformBuilder::default().architecture(Arch::default()).os(Os::Linux).build()?;
    descriptor.set_platform(Some(platform));
    Ok(descriptor)
}

/// Files of the archive by their paths.
#[derive(Default)]
struct Blobs(Vec<(String, Vec<u8>)>);

impl Blobs {
    fn add(&mut self, kind: MediaType, bytes: Vec<u8>) -> Result<Descriptor> {
        let hex = hex(&bytes);
        let digest: OciDigest = format!("sha256:{hex}").parse()?;
        let size = bytes.len() as u64;
        self.0.push((format!("blobs/sha256/{hex}"), bytes));
        Ok(DescriptorBuilder::default().media_type(kind).digest(digest).size(size).build()?)
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Without a name or a time in the header.
fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder: GzEncoder<Vec<u8>> = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish().context("cannot compress the layer")
}

/// The same JSON with the keys of each object in order: maps of the builders have none.
fn sorted(json: &str) -> Result<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_str(json)?;
    Ok(value.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use serde_json::Value;

    use super::*;

    fn image() -> (Vec<u8>, String) {
        archive(&Files::new(b"program".to_vec()), 0).unwrap()
    }

    fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        files
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        assert_eq!(image(), image());
        let other = archive(&Files::new(b"another".to_vec()), 0).unwrap();
        assert_ne!(image().1, other.1);
    }

    #[test]
    fn every_blob_is_what_its_descriptor_says() {
        let (bytes, digest) = image();
        let files = unpacked(&bytes);
        let blob = |descriptor: &Value| -> &Vec<u8> {
            let digest = descriptor["digest"].as_str().unwrap();
            let blob = &files[&format!("blobs/{}", digest.replace(':', "/"))];
            assert_eq!(digest, format!("sha256:{}", hex(blob)));
            assert_eq!(descriptor["size"], blob.len());
            blob
        };
        let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
        assert_eq!(json(&files["oci-layout"])["imageLayoutVersion"], "1.0.0");
        let top = json(&files["index.json"]);
        assert_eq!(top["manifests"][0]["digest"], digest.as_str());
        let index = json(blob(&top["manifests"][0]));
        assert_eq!(
            index["manifests"][0]["platform"],
            serde_json::json!({"architecture": Arch::default(), "os": "linux"})
        );
        let manifest = json(blob(&index["manifests"][0]));
        let config = json(blob(&manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!([SENSOR]));
        let mut layer = Vec::new();
        flate2::read::GzDecoder::new(blob(&manifest["layers"][0]).as_slice())
            .read_to_end(&mut layer)
            .unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&layer)));
        assert_eq!(
            files.keys().filter(|path| path.starts_with("blobs/sha256/") && path.len() > 64).count(),
            4
        );
    }

    #[test]
    fn the_dockerfile_says_the_same() {
        let dockerfile = include_str!("../../../deploy/Dockerfile");
        let (_, last) = dockerfile.rsplit_once("FROM scratch\n").unwrap();
        let expected =
            format!("COPY --from=build /image /\nWORKDIR /\nEXPOSE {PORT}\nENTRYPOINT [\"{SENSOR}\"]\n");
        assert_eq!(last, expected);
    }
}
