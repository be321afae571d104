//! SQL of MTA-STS policies that other domains publish.

use std::time::SystemTime;

use super::{
    Store, StoreError,
    queue::{milliseconds, time},
};

/// A policy as stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredPolicy {
    /// Whose; lower case, ASCII.
    pub domain: String,
    /// The id of the record by which it was fetched.
    pub id: String,
    /// The file as fetched.
    pub policy: String,
    /// When.
    pub fetched_at: SystemTime,
    /// When it is to be forgotten.
    pub expires_at: SystemTime,
}

impl Store {
    /// Every policy that has not expired at `now`, the latest fetched first, `limit` at most.
    pub async fn sts_policies(
        &self,
        now: SystemTime,
        limit: u32,
    ) -> Result<Vec<StoredPolicy>, StoreError> {
        let rows: Vec<(String, String, String, i64, i64)> = sqlx::query_as(
            r#"
            SELECT domain, id, policy, fetched_at, expires_at
              FROM sts_policies
             WHERE expires_at > $1
             ORDER BY fetched_at DESC
             LIMIT $2
            "#,
        )
        .bind(milliseconds(now))
        .bind(limit)
        .fetch_all(self.reader())
        .await?;
        let rows = rows.into_iter();
        let rows = rows.map(
            |(domain, id, policy, fetched_at, expires_at)| StoredPolicy {
                domain,
                id,
                policy,
                fetched_at: time(fetched_at),
                expires_at: time(expires_at),
            },
        );
        Ok(rows.collect())
    }

    /// Keeps a policy in place of the domain's earlier one.
    pub async fn keep_sts_policy(&self, policy: &StoredPolicy) -> Result<(), StoreError> {
        sqlx::query(
            r#"
            INSERT INTO sts_policies (domain, id, policy, fetched_at, expires_at)
            VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (domain) DO UPDATE
               SET id = excluded.id,
                   policy = excluded.policy,
                   fetched_at = excluded.fetched_at,
                   expires_at = excluded.expires_at
            "#,
        )
        .bind(&policy.domain)
        .bind(&policy.id)
        .bind(&policy.policy)
        .bind(milliseconds(policy.fetched_at))
        .bind(milliseconds(policy.expires_at))
        .execute(self.writer())
        .await?;
        Ok(())
    }

    /// Forgets what has expired at `now`.
    pub async fn forget_sts_policies(&self, now: SystemTime) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sts_policies WHERE expires_at <= $1")
            .bind(milliseconds(now))
            .execute(self.writer())
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_policy_is_kept_replaced_and_forgotten_when_it_expires() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db")).await.unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let policy = |domain: &str, id: &str, expires| StoredPolicy {
            domain: domain.into(),
            id: id.into(),
            policy: "version: STSv1\n".into(),
            fetched_at: at(10),
            expires_at: at(expires),
        };
        for policy in [
            policy("a.example", "1", 100),
            policy("b.example", "1", 50),
            policy("a.example", "2", 200),
        ] {
            store.keep_sts_policy(&policy).await.unwrap();
        }
        let all = store.sts_policies(at(20), 10).await.unwrap();
        assert_eq!(all.len(), 2);
        assert!(all.contains(&policy("a.example", "2", 200)));
        store.forget_sts_policies(at(50)).await.unwrap();
        let left = store.sts_policies(at(20), 10).await.unwrap();
        assert_eq!(left, [policy("a.example", "2", 200)]);
        assert!(store.sts_policies(at(200), 10).await.unwrap().is_empty());
        store.close().await;
    }
}
