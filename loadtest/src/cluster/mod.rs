//! Scenarios on a real cluster: the one that the environment names (`KUBECONFIG`). All that they make there is in one
//! namespace, which goes at the end.

mod accept;
mod objects;
pub(crate) mod scale;
mod sight;
pub(crate) mod wake;

use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client, ResourceExt as _};

/// How long the cluster may take to do what it does at once otherwise.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A namespace of our own.
struct Ground {
    client: Client,
    namespace: String,
}

impl Ground {
    async fn prepare() -> anyhow::Result<Self> {
        let client = Client::try_default().await.context("failed to connect to a cluster")?;
        let namespace: Namespace =
            serde_json::from_value(serde_json::json!({"metadata": {"generateName": "drowse-bench-"}}))?;
        let made = Api::all(client.clone()).create(&PostParams::default(), &namespace).await;
        let namespace = made.context("failed to make a namespace")?.name_any();
        let ground = Self { client, namespace };
        // Without it, no pod is admitted.
        let accounts: Api<ServiceAccount> = Api::namespaced(ground.client.clone(), &ground.namespace);
        let there = async {
            while accounts.get_opt("default").await?.is_none() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, there).await.context("the namespace gets no service account")??;
        Ok(ground)
    }

    fn sandboxes(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &objects::sandboxes())
    }

    /// Deletes the namespace with all that is in it. The cluster goes on deleting when this is over.
    async fn clear(self) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match namespaces.delete(&self.namespace, &DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(error) => bail!("failed to delete the namespace {}: {error}", self.namespace),
        }
    }
}
