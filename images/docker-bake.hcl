# docker buildx bake -f images/docker-bake.hcl [IMAGE ...], from the root of the sources.
# `edgeline images build` calls it with what a machine needs (mirror, index, CA, version).

variable "REGISTRY" {
  default = "ghcr.io/edgeline"
}
variable "VERSION" {
  default = "0.1.0"
}
variable "REVISION" {
  default = "unknown"
}
# an empty one leaves the Containerfile's own, which is pinned by digest
variable "BASE_IMAGE" {
  default = ""
}
variable "UV_IMAGE" {
  default = ""
}
# of the apt key that the images with Coral's packages trust; they are not built without
variable "CORAL_KEY_SHA256" {
  default = ""
}

group "default" {
  targets = ["pipeline", "train", "compile", "edge-server"]
}

target "_image" {
  context = "."
  args = {
    BASE_IMAGE = BASE_IMAGE != "" ? BASE_IMAGE : null
    UV_IMAGE   = UV_IMAGE != "" ? UV_IMAGE : null
    VERSION    = VERSION
    REVISION   = REVISION
  }
  # each platform's list of packages and record of its build go with the image
  attest = ["type=sbom", "type=provenance,mode=max"]
}

target "pipeline" {
  inherits   = ["_image"]
  dockerfile = "images/pipeline/Containerfile"
  tags       = ["${REGISTRY}/pipeline-python:${VERSION}"]
  platforms  = ["linux/amd64", "linux/arm64"]
}

# tfx-bsl, below tf.Transform and TFMA, has no Linux wheel but for amd64
target "train" {
  inherits   = ["_image"]
  dockerfile = "images/train/Containerfile"
  tags       = ["${REGISTRY}/train-python:${VERSION}"]
  platforms  = ["linux/amd64"]
}

target "train-gpu" {
  inherits = ["train"]
  args     = { ACCELERATOR = "gpu" }
  tags     = ["${REGISTRY}/train-gpu-python:${VERSION}"]
}

target "compile" {
  inherits   = ["_image"]
  dockerfile = "images/compile/Containerfile"
  tags       = ["${REGISTRY}/compile-python:${VERSION}"]
  platforms  = ["linux/amd64"]
}

# with edgetpu_compiler, whose licence is Coral's own
target "compile-coral" {
  inherits = ["compile"]
  args     = { CORAL = "with", CORAL_KEY_SHA256 = CORAL_KEY_SHA256 }
  tags     = ["${REGISTRY}/compile-coral-python:${VERSION}"]
}

target "edge-server" {
  inherits   = ["_image"]
  dockerfile = "images/edge-server/Containerfile"
  tags       = ["${REGISTRY}/edge-server:${VERSION}"]
  platforms  = ["linux/amd64", "linux/arm64"]
}

# with libedgetpu, for nodes with an Edge TPU
target "edge-server-coral" {
  inherits = ["edge-server"]
  args     = { CORAL = "with", CORAL_KEY_SHA256 = CORAL_KEY_SHA256 }
  tags     = ["${REGISTRY}/edge-server-coral:${VERSION}"]
}
