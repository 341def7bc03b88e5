#!/usr/bin/env bash
# Build the image and push it to Artifact Registry; prints the pushed reference by digest.
set -euo pipefail

usage() {
	cat <<'TEXT'
Usage: build_and_push.sh --project PROJECT [--region REGION] [--tag TAG] [--registry HOST] [--dry-run]

Build linux/amd64 and push REGION-docker.pkg.dev/PROJECT/textflow-mlflow/server:TAG.

  --project PROJECT  Google Cloud project          [PROJECT_ID]
  --region REGION    region of the repository      [REGION, northamerica-northeast1]
  --tag TAG          tag of the image              [TAG, latest]
  --registry HOST    another registry than REGION-docker.pkg.dev
  --dry-run          print the commands and run none

Example:
  build_and_push.sh --project acme --tag 0.1.0
TEXT
}

fail() {
	printf 'error: %s\n' "$1" >&2
	exit 1
}

project=${PROJECT_ID:-} region=${REGION:-northamerica-northeast1} tag=${TAG:-latest} registry='' dry_run=''
while [ "$#" -gt 0 ]; do
	case "$1" in
		--project | --region | --tag | --registry)
			[ -n "${2:-}" ] || fail "$1 needs a value: see --help"
			printf -v "${1#--}" '%s' "$2"
			shift 2
			;;
		--dry-run) dry_run=yes && shift ;;
		--help | -h) usage && exit 0 ;;
		*) fail "$1 is not a flag of this command: see --help" ;;
	esac
done

[ -n "$project" ] || fail 'no project: add --project NAME, or set PROJECT_ID'
registry=${registry:-$region-docker.pkg.dev}
repository=$registry/$project/textflow-mlflow/server
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/pyproject.toml")
revision=$(git -C "$root" rev-parse --verify HEAD 2>/dev/null || echo unknown)

build=(docker build --platform linux/amd64 --tag "$repository:$tag"
	--build-arg "VERSION=$version" --build-arg "REVISION=$revision"
	--file "$root/deployment/mlflow/Dockerfile" "$root")
push=(docker push "$repository:$tag")

if [ -n "$dry_run" ]; then
	printf '%q ' "${build[@]}" && echo
	printf '%q ' "${push[@]}" && echo
	exit 0
fi

command -v docker >/dev/null || fail 'docker is not installed: install Docker Engine and run this again'
docker info >/dev/null 2>&1 || fail 'the Docker engine does not answer: start it, or set DOCKER_HOST'

"${build[@]}" >&2 || fail 'the build failed: see the lines above'

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${push[@]}" 2>&1 | tee "$log" >&2; then
	if grep -qiE 'denied|unauthorized|no basic auth|authentication required|forbidden' "$log"; then
		fail "$registry refused the push: run gcloud auth configure-docker $registry, and see that project and repository exist"
	fi
	fail "the push failed: $(tail -n 1 "$log")"
fi

# The last line of a push names the digest of what the registry now holds.
digest=$(sed -n 's/.*digest: \(sha256:[0-9a-f]*\).*/\1/p' "$log" | tail -n 1)
[ -n "$digest" ] || fail 'the push named no digest: look the image up in the registry'
printf '%s@%s\n' "$repository" "$digest"
