# To be sourced: `init` is how Terraform begins here. The AWS provider is looked for in $PROOFYARD_TERRAFORM_PLUGINS, then
# where programs of this machine keep what they share; else Terraform fetches it.

# Of a configuration that is not there, Terraform warns in the middle of what it prints.
if [ ! -e "${TF_CLI_CONFIG_FILE:-/}" ]; then
    unset TF_CLI_CONFIG_FILE
fi
export TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1

init=(init -input=false -backend=false)
for root in ${PROOFYARD_TERRAFORM_PLUGINS:+"$PROOFYARD_TERRAFORM_PLUGINS"} ~/.terraform.d /usr/local/share /usr/share /opt; do
    provider=$(find "$root" -maxdepth 4 -type d -path '*/registry.terraform.io/hashicorp/aws' -print -quit 2> /dev/null || true)
    if [ -n "$provider" ]; then
        init+=("-plugin-dir=${provider%/registry.terraform.io/hashicorp/aws}")
        break
    fi
done
