# shellcheck shell=sh
# The charts: their versions and how to install them. deploy/minikube and deploy/cluster read this.

COCKROACHDB_CHART=21.0.1
TRAEFIK_CHART=41.3.0

context='' # for kubectl and helm
dry_run='' # if not empty: commands are printed and not run

# Names each missing program and its source, then exits. A dry run goes on.
need() { # name of the program, its source
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
# Its init job starts the cluster and creates the roles and the database. An upgrade runs it again.
install_cockroachdb() {
  helm_install kassa cockroachdb https://charts.cockroachdb.com "$COCKROACHDB_CHART" "$@"
  kube -n kassa rollout status statefulset/kassa-cockroachdb --timeout=15m
}
# Release and namespace have the same name. No --wait: CockroachDB's pods become ready only after the
# init job, which helm would start only once they are ready. helm waits for hooks anyway.
helm_install() {
  release=$1 chart=$2 repository=$3 version=$4
  shift 4
  run helm upgrade --install "$release" "$chart" --repo "$repository" --version "$version" \
    --kube-context "$context" --namespace "$release" --create-namespace --timeout 15m "$@"
}

manifests='' # what build_overlay has built
build_overlay() { # overlay, image that replaces its own
  printf '+ kubectl kustomize %s | (image: %s)\n' "$1" "$2"
  [ -z "$dry_run" ] || return 0
  manifests=$(kubectl kustomize "$1")
  manifests=$(printf '%s\n' "$manifests" | put_image "$2") || {
    printf '%s: the Job migrate has no image in whose place %s could be put\n' "$1" "$2" >&2
    return 1
  }
}
overlay_has() { # kind
  printf '%s\n' "$manifests" | grep -q "^kind: $1\$"
}
# Our image has the name that the overlay gives it, with a tag, a digest or both. The Job of the
# migration runs it, so that Job shows the name.
put_image() { # image
  awk -v new="$1" '
    function name(image) { sub(/@.*/, "", image); sub(/:[^:\/]*$/, "", image); return image }
    { line[NR] = $0 }
    /^kind:/ { job = $2 == "Job" }
    job && old == "" && match($0, /^ *(- )?image: /) { old = name(substr($0, RLENGTH + 1)) }
    END {
      for (i = 1; i <= NR; i++) {
        lead = match(line[i], /^ *(- )?image: /) ? RLENGTH : 0
        if (lead && name(substr(line[i], lead + 1)) == old) line[i] = substr(line[i], 1, lead) new
        print line[i]
      }
      exit old == ""
    }'
}
# Deletes the Job of the last time first: a Job cannot be changed.
apply_overlay() {
  kube -n kassa delete job migrate --ignore-not-found
  printf '+ kubectl --context %s apply -f -\n' "$context"
  [ -n "$dry_run" ] || printf '%s\n' "$manifests" | kubectl --context "$context" apply -f -
}

wait_for_kassa() {
  kube -n kassa get job migrate
  until [ -n "$dry_run" ]; do # this ends, because the Job has a deadline
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
  asleep=''
  for service in order payment stock webhooks; do
    kube -n kassa rollout status "deployment/$service" --timeout=5m
    [ -n "$dry_run" ] || [ "$(kubectl --context "$context" -n kassa get deployment "$service" \
      -o 'jsonpath={.spec.replicas}')" != 0 ] || asleep="$asleep $service"
  done
  [ -z "$asleep" ] || { # an autoscaler does not start a Deployment that was scaled to 0
    printf 'All is applied, but nobody answers for%s, scaled to 0. To start: %s%s --replicas 2\n' \
      "$asleep" "kubectl --context $context -n kassa scale deployment" "$asleep" >&2
    return 1
  }
}

show_addresses() { # scheme of the DB Console
  [ -z "$dry_run" ] || printf '\nA dry run: nothing was done. Otherwise:\n'
  cat <<END

Kassa runs. Reach it from this machine, each command in a terminal of its own:
  kubectl --context $context -n traefik port-forward service/traefik 8000:80
      the API: http://localhost:8000/orders, /payment, /stock, /v1
  kubectl --context $context -n kassa port-forward service/kassa-cockroachdb-public 8080:8080
      the DB Console: $1://localhost:8080
Load from inside the cluster: stress-test/kubernetes/README.md
END
}
