# shellcheck shell=sh
# The charts: their versions, and how they are installed. For deploy/minikube and deploy/cluster.

COCKROACHDB_CHART=21.0.1
TRAEFIK_CHART=41.3.0

context='' # of kubectl and helm
dry_run='' # anything: commands are printed and not run

# Says what is missing and where it is to be had, and ends. A dry run goes on.
need() { # name of the program, where to get it
  command -v "$1" >/dev/null && return
  printf 'missing: %s (%s)\n' "$1" "$2" >&2
  missing=1
}
stop_if_missing() {
  [ -z "${missing:-}" ] || [ -n "$dry_run" ] || exit 1
}

run() {
  printf '+'
  for word; do
    case $word in
      *[!A-Za-z0-9_./:=@,%+-]*) printf " '%s'" "$word" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  echo
  [ -n "$dry_run" ] || "$@"
}
kube() { run kubectl --context "$context" "$@"; }

install_traefik() { # options of helm, such as --values
  helm_install traefik traefik https://traefik.github.io/charts "$TRAEFIK_CHART" "$@"
}
# Its init job starts the cluster, makes the roles and the database, and is repeated by an upgrade.
install_cockroachdb() {
  helm_install kassa cockroachdb https://charts.cockroachdb.com "$COCKROACHDB_CHART" "$@"
  kube -n kassa rollout status statefulset/kassa-cockroachdb --timeout=15m
}
# Release and namespace have one name. No --wait: CockroachDB's pods are ready only after the init
# job, which helm would start only after they are ready. Hooks are waited for anyway.
helm_install() {
  release=$1 chart=$2 repository=$3 version=$4
  shift 4
  run helm upgrade --install "$release" "$chart" --repo "$repository" --version "$version" \
    --kube-context "$context" --namespace "$release" --create-namespace --timeout 15m "$@"
}

# Applies an overlay with an image in the place of its own. The Job of the last time makes way.
apply_overlay() { # overlay, image
  kube -n kassa delete job migrate --ignore-not-found
  printf '+ kubectl kustomize %s | (image: %s) | kubectl --context %s apply -f -\n' \
    "$1" "$2" "$context"
  [ -z "$dry_run" ] || return 0
  manifests=$(kubectl kustomize "$1")
  printf '%s\n' "$manifests" | sed "s|image: kassa:.*|image: $2|" |
    kubectl --context "$context" apply -f -
}

wait_for_kassa() {
  kube -n kassa get job migrate
  until [ -n "$dry_run" ]; do # it ends: the Job has a deadline
    case $(kubectl --context "$context" -n kassa get job migrate \
      -o 'jsonpath={.status.conditions[?(@.status=="True")].type}') in
      *Complete*) break ;;
      *Failed*)
        kubectl --context "$context" -n kassa logs --selector app.kubernetes.io/component=migrate \
          --tail=20 >&2
        echo 'The migration failed. Run this again: it makes what the database lacks.' >&2
        return 1
        ;;
    esac
    sleep 3
  done
  for service in order payment stock; do
    kube -n kassa rollout status "deployment/$service" --timeout=5m
  done
}

show_addresses() { # scheme of the DB Console
  [ -z "$dry_run" ] || printf '\nA dry run: nothing was done. Otherwise:\n'
  cat <<END

Kassa runs. Reach it from this machine, each command in a terminal of its own:
  kubectl --context $context -n traefik port-forward service/traefik 8000:80
      the API: http://localhost:8000/orders, /payment, /stock
  kubectl --context $context -n kassa port-forward service/kassa-cockroachdb-public 8080:8080
      the DB Console: $1://localhost:8080
Load from inside the cluster: stress-test/kubernetes/README.md
END
}
