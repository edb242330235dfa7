# To be sourced: `init` is how Terraform begins here. The AWS provider is looked for in $PROOFYARD_TERRAFORM_PLUGINS, then
# in a few usual folders; else Terraform fetches it.

# Of a configuration that is not there, Terraform warns in the middle of what it prints.
if [ ! -e "${TF_CLI_CONFIG_FILE:-/}" ]; then
    unset TF_CLI_CONFIG_FILE
fi
export TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1

init=(init -input=false -backend=false)
for folder in "${PROOFYARD_TERRAFORM_PLUGINS:-}" /opt/tf-plugins ~/.terraform.d/plugins /usr/local/share/terraform/plugins; do
    if [ -d "$folder/registry.terraform.io/hashicorp/aws" ]; then
        init+=("-plugin-dir=$folder")
        break
    fi
done
