#!/usr/bin/env bash
# The chart on a real Kubernetes: install, kill a pod, upgrade, scale, all while requests come in; each has one result.
#
# Needs Docker, kind, kubectl, helm and jq; the cluster is made anew, and kept for a look when something fails.
# It was written where there is no Docker and has not been run there; .github/workflows/kind.yaml runs it.
set -euo pipefail
cd "$(dirname "$0")/../.."

cluster=onboarding-test
namespace=identity # pods that are less than `restricted` are refused here
servers=servers
release=staging
image=onboarding-processor:kind
requests=300 # published in each part
results_wait_s=300

step() { printf '\n== %s\n' "$*"; }
all() { kubectl --context "kind-$cluster" "$@"; }
kube() { all --namespace "$namespace" "$@"; }
chart() { helm --kube-context "kind-$cluster" --namespace "$namespace" "$@"; }
pods_of() { kube get pods --output name --selector "app.kubernetes.io/instance=$release,app.kubernetes.io/component=$1"; }

# processor ARGUMENTS: a command of the image, in the one pod that nothing here replaces.
processor() {
  kube exec --stdin "deployment/$release-onboarding-processor-simulator" -- processor "$@" \
    --bootstrap-servers "broker.$servers:9092" --schema-registry "http://registry.$servers:8080/apis/ccompat/v7"
}

install() {
  chart upgrade --install "$release" helm --values tests/kind/values.yaml --wait --timeout 5m "$@"
}

# part NAME: publish requests that are named after it.
part() {
  seq "$requests" | jq --compact-output --arg part "$1" \
    '{requestId: "\($part)-\(.)", workflow: "person-check", subject: {reference: "\($part)-\(.)"}}' | processor publish -
}

# results: the id of each request that has a result, once for each first result that there is.
results() {
  processor results --topic onboarding.results --from-beginning --json | jq --raw-output 'select(.revision == 1) | .requestId'
}

on_failure() {
  step "what is there"
  all get pods --all-namespaces --output wide || true
  kube get events --sort-by .lastTimestamp | tail -30 || true
  kube logs --selector "app.kubernetes.io/instance=$release" --all-containers --prefix --tail 50 || true
}
trap on_failure ERR

step "a cluster with the image"
kind delete cluster --name "$cluster"
kind create cluster --name "$cluster" --wait 3m
make image IMAGE="$image"
kind load docker-image "$image" --name "$cluster"
all create namespace "$servers"
all create namespace "$namespace"
all label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted

step "broker and registry"
all --namespace "$servers" apply --filename tests/kind/servers.yaml
all --namespace "$servers" rollout status deployment/broker --timeout 5m
all --namespace "$servers" rollout status deployment/registry --timeout 5m

step "install"
install
part installed

step "kill a pod of each role"
for role in submitter ingestor reconciler; do
  pod=$(pods_of "$role" | head -n 1)
  kube delete "$pod" --grace-period 0 --force
done
part killed
kube wait pods --for condition=Ready --selector "app.kubernetes.io/instance=$release,app.kubernetes.io/component in (submitter,ingestor,reconciler)" --timeout 3m

step "upgrade while requests come in"
part upgraded &
publisher=$!
install --set submitter.podAnnotations.upgraded=yes,reconciler.podAnnotations.upgraded=yes
wait "$publisher"

step "scale"
install --set submitter.replicas=3,reconciler.replicas=1
part scaled

step "each request has one result"
expected=$((4 * requests))
give_up_at=$((SECONDS + results_wait_s))
until [ "$(results | sort --unique | wc -l)" -ge "$expected" ]; do
  [ "$SECONDS" -lt "$give_up_at" ] || { echo "only $(results | sort --unique | wc -l) of $expected have a result"; false; }
  sleep 5
done
twice=$(results | sort | uniq --repeated)
[ -z "$twice" ] || { echo "two results: $twice"; false; }

step "helm test, and the end"
chart test "$release" --logs
chart uninstall "$release" --wait
kind delete cluster --name "$cluster"
