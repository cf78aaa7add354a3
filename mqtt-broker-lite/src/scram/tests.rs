use super::*;

const ENTROPY: [u8; 16] = [7; 16];

fn users() -> Arc<Users> {
    let mut users = Users::new([9; 32]);
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    users.insert("user", Credential::of(b"pencil", &salt, 4096));
    users.insert("a,b=c", Credential::of(b"x", b"another salt 16b", 4096));
    Arc::new(users)
}

/// The client's last message, and what the server must answer.
fn client(password: &[u8], bare: &str, header: &str, challenge: &str) -> (String, String) {
    let mut attributes = challenge.split(',').map(|attribute| attribute.split_at(2).1);
    let (nonce, salt, count) =
        (attributes.next().unwrap(), attributes.next().unwrap(), attributes.next().unwrap());
    let mut salted = Key::default();
    let salt = STANDARD.decode(salt).unwrap();
    pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, count.parse().unwrap(), &mut salted);
    let last = format!("c={},r={nonce}", STANDARD.encode(header));
    let said = format!("{bare},{challenge},{last}");
    let key = tag(&salted, &[b"Client Key"]);
    let signature = tag(&Sha256::digest(key), &[said.as_bytes()]);
    let proof: Vec<u8> = key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
    let server = tag(&tag(&salted, &[b"Server Key"]), &[said.as_bytes()]);
    (format!("{last},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(server)))
}

fn text(step: AuthStep) -> String {
    match step {
        AuthStep::Continue(data) | AuthStep::Success(Some(data)) => String::from_utf8(data).unwrap(),
        other => panic!("{other:?}"),
    }
}

const REFUSED: AuthStep = AuthStep::Refuse(ReasonCode::NOT_AUTHORIZED);

#[test]
fn the_exchange_of_rfc_7677_succeeds() {
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let challenge = Challenge {
        name: "user".into(),
        credential: users().known["user"].clone(),
        is_known: true,
        nonce: nonce.into(),
        binding: "biws".into(),
        said: format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
    };
    let mut exchange =
        Exchange { users: users(), entropy: ENTROPY, count: 0, stage: Stage::First, proven: None };
    let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    let step = exchange.verify(&challenge, &last).unwrap();
    assert_eq!(text(step), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn a_user_comes_in_as_often_as_it_proves_itself_anew() {
    let mut mechanism = users().mechanism(ENTROPY);
    let mut nonces = Vec::new();
    for (name, escaped, password) in [("user", "user", &b"pencil"[..]), ("a,b=c", "a=2Cb=3Dc", b"x")] {
        let bare = format!("n={escaped},r=nonce");
        let challenge = text(mechanism.step(format!("y,,{bare}").as_bytes()));
        nonces.push(challenge.split(',').next().unwrap().to_owned());
        let (last, expected) = client(password, &bare, "y,,", &challenge);
        assert_eq!(text(mechanism.step(last.as_bytes())), expected);
        assert_eq!(mechanism.user_name(), Some(name));
        // The same proof again is worth nothing.
        assert_eq!(mechanism.step(last.as_bytes()), REFUSED);
    }
    assert_ne!(nonces[0], nonces[1]);
}

/// FAULTS 87
#[test]
fn a_stranger_cannot_be_told_from_a_user_with_a_wrong_password() {
    let challenge = |name: &str| {
        let mut mechanism = users().mechanism(ENTROPY);
        let bare = format!("n={name},r=nonce");
        let challenge = text(mechanism.step(format!("n,,{bare}").as_bytes()));
        let (last, _) = client(b"guess", &bare, "n,,", &challenge);
        assert_eq!(mechanism.step(last.as_bytes()), REFUSED);
        challenge
    };
    let (user, stranger) = (challenge("user"), challenge("stranger"));
    assert_eq!(stranger, challenge("stranger"), "the same salt each time");
    assert_ne!(stranger, challenge("another"));
    assert_eq!(user.len(), stranger.len());
}

#[test]
fn what_is_not_scram_is_refused() {
    for first in
        ["", "p=tls-unique,,n=user,r=x", "n,a=other,n=user,r=x", "n,,n=,r=x", "n,,n=user,r=", "n,,r=x"]
    {
        assert_eq!(users().mechanism(ENTROPY).step(first.as_bytes()), REFUSED, "{first}");
    }
    for (from, to) in [("c=biws", "c=eSws"), (",r=", ",r=x"), (",p=", ",p=!"), (",p=", ",p=AA"), (",p=", ",")]
    {
        let mut mechanism = users().mechanism(ENTROPY);
        let challenge = text(mechanism.step(b"n,,n=user,r=nonce"));
        let (last, _) = client(b"pencil", "n=user,r=nonce", "n,,", &challenge);
        let wrong = last.replacen(from, to, 1);
        assert_ne!(wrong, last);
        assert_eq!(mechanism.step(wrong.as_bytes()), REFUSED, "{wrong}");
        assert_eq!(mechanism.user_name(), None);
    }
}
